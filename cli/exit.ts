// Exit codes of the command line and the one error that carries one. Numbers are those of
// sysexits(3), so that scripts and service managers can tell a typing mistake from an operator
// that is down.

import { ChainError, reasonOf } from '../chain/error.ts'
import { DeviceError, type DeviceErrorCode } from '../device/error.ts'

/** What a command's exit code means; 1 is a fault of the program itself. */
export const Exit = {
  ok: 0,
  fault: 1,
  usage: 64,
  unavailable: 69,
  exists: 73,
  permission: 77,
  configuration: 78,
} as const

/** One of the numbers of `Exit`. */
export type ExitCode = (typeof Exit)[keyof typeof Exit]

/** Stops a command with one line on stderr and an exit code. */
export class CommandError extends Error {
  readonly exitCode: ExitCode

  constructor(exitCode: ExitCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'CommandError'
    this.exitCode = exitCode
  }
}

const exitOfDevice: Record<DeviceErrorCode, ExitCode> = {
  usage: Exit.usage,
  unavailable: Exit.unavailable,
  refused: Exit.unavailable,
  exists: Exit.exists,
  permission: Exit.permission,
  damaged: Exit.configuration,
}

const exitOfSystem: Readonly<Record<string, ExitCode>> = {
  EACCES: Exit.permission,
  EPERM: Exit.permission,
  EROFS: Exit.permission,
  EEXIST: Exit.exists,
  ENOTDIR: Exit.usage,
  ENOENT: Exit.usage,
  EISDIR: Exit.usage,
}

/** The exit code and the one line of anything a command threw. */
export function exitOf(error: unknown): { readonly code: ExitCode; readonly message: string } {
  if (error instanceof CommandError) return { code: error.exitCode, message: error.message }
  if (error instanceof DeviceError)
    return { code: exitOfDevice[error.code], message: error.message }
  if (error instanceof ChainError) return { code: Exit.unavailable, message: error.message }
  const system = (error as { code?: unknown } | null)?.code
  const code = typeof system === 'string' ? exitOfSystem[system] : undefined
  // sysexits: 73 is "can't create", a full disk included.
  if (system === 'ENOSPC' || system === 'EDQUOT') {
    return { code: Exit.exists, message: `the disk is full: free some space (${reasonOf(error)})` }
  }
  return { code: code ?? Exit.fault, message: reasonOf(error).replace(/\s*\n\s*/g, ' ') }
}
