/** The build gives such a file a name with the hash of its content. */
declare module '*.svg' {
  const name: string
  export default name
}
