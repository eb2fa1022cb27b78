/** Closes what the files of this process share; undefined if the process runs one file. */
export const atEnd = Reflect.get(globalThis, Symbol.for('stablequeue.at-end')) as Array<() => Promise<void>> | undefined
