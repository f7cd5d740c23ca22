// The error an HTTP handler throws: a status, a machine-readable code and a sentence. Becomes
// `{error: {code, message}}` in http.ts. It has no stack trace: a refusal is an outcome, and
// strangers cause thousands of them.

export class HttpError extends Error {
  override readonly name = 'HttpError'
  readonly statusCode: number
  readonly code: string

  constructor(statusCode: number, code: string, message: string) {
    super(message)
    this.statusCode = statusCode
    this.code = code
    this.stack = `${this.name}: ${message}`
  }
}
