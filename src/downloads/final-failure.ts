/** What another attempt cannot mend. */
export class FinalFailure extends Error {
  override readonly name = 'FinalFailure'
}
