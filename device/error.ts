// The one error of the device's program: a reason from a closed list and a sentence that says what
// to do. Thrown by device/, turned into an exit code by cli/. Never carries a password, key or
// token.

/** Why a device command stopped; `cli/exit.ts` gives each its exit code. */
export type DeviceErrorCode =
  | 'usage' // the words typed cannot mean anything
  | 'unavailable' // somebody else does not answer, or has not what is needed
  | 'refused' // an answer was checked and is not to be trusted
  | 'exists' // a file would have been overwritten, or cannot be made
  | 'permission' // password wrong or absent, file not readable
  | 'damaged' // a file of DIR is not what this program wrote

/** Every failure of device/ that the person at the keyboard can do something about. */
export class DeviceError extends Error {
  readonly code: DeviceErrorCode

  constructor(code: DeviceErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'DeviceError'
    this.code = code
  }
}
