// One emulated machine with two simulated radios: started, given commands, read from, and switched
// off without a word. The access point's programs run in its first network namespace, the
// station's in the second. Always the emulator's own processor (tcg), with or without /dev/kvm: a
// nested one starts and then hangs. Called by access-point.ts and the tests.

import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'
import { waitFor } from '../server.ts'
import { type Image, image } from './image.ts'
import { PATH } from './processes.ts'

const BOOT_TIMEOUT_MS = 60_000
const COMMAND_TIMEOUT_MS = 60_000
/** Two test files may have found the same free port. */
const BOOT_ATTEMPTS = 3

/** Where the guest is in the emulator's network, and where it finds this machine's loopback. */
export const GUEST_ADDRESS = '10.0.2.15'
export const HOST_ADDRESS = '10.0.2.2'

export interface Done {
  readonly code: number
  readonly out: string
}

export interface Guest {
  /** A shell command at the access point: its output (both streams) and exit status. */
  ap(command: string, timeoutMs?: number): Promise<Done>
  /** The same in the station's network namespace. */
  station(command: string, timeoutMs?: number): Promise<Done>
  /** Writes a file in the guest. */
  write(path: string, text: string): Promise<void>
  /** Bytes in a log so far; a place to look from. */
  length(log: string): Promise<number>
  /** What a log holds from that place on. */
  read(log: string, from?: number): Promise<string>
  /** Waits until a line after `from` matches (grep -E); throws with the end of the log. */
  logged(log: string, pattern: string, o?: { from?: number; timeoutMs?: number }): Promise<void>
  /** Like pulling the plug: nothing in the guest gets to say goodbye. */
  powerOff(): Promise<void>
  /** What the kernel and init printed. */
  console(): string
}

function freePort(kind: 'tcp' | 'udp'): Promise<number> {
  return new Promise((resolve, reject) => {
    if (kind === 'tcp') {
      const probe = createServer()
      probe.once('error', reject)
      probe.listen(0, '127.0.0.1', () => {
        const address = probe.address()
        probe.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0))
      })
      return
    }
    const probe = createSocket('udp4')
    probe.once('error', reject)
    probe.bind(0, '127.0.0.1', () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}

/** A free UDP port of this machine for `dasPort`: known before the guest is started. */
export const freeUdpPort = () => freePort('udp')

function emulator(o: Image, controlPort: number, dasPort: number): ChildProcess {
  const forwards = [
    `hostfwd=tcp:127.0.0.1:${controlPort}-${GUEST_ADDRESS}:4444`,
    // RFC 5176 §3: where the access point takes a Disconnect-Request.
    `hostfwd=udp:127.0.0.1:${dasPort}-${GUEST_ADDRESS}:3799`,
  ]
  const kernelWords =
    'console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off nokaslr tsc=reliable'
  return spawn(
    'setpriv',
    [
      // A test that is killed outright runs no teardown; the emulator goes with it all the same.
      ...['--pdeathsig', 'KILL', 'qemu-system-x86_64'],
      ...['-accel', 'tcg,thread=multi', '-M', 'pc', '-cpu', 'max', '-smp', '1', '-m', '256'],
      ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none'],
      ...['-kernel', o.kernel, '-initrd', o.root, '-append', kernelWords, '-serial', 'stdio'],
      ...['-netdev', `user,id=n0,ipv6=off,${forwards.join(',')}`],
      ...['-device', 'virtio-net-pci,netdev=n0,romfile='],
    ],
    { env: { ...process.env, PATH }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
}

/** Sends one script to the guest's shell and reads until its exit status. */
function shell(port: number, script: string, timeoutMs: number): Promise<Done> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let out = ''
    const finish = (result: Done | Error) => {
      clearTimeout(timer)
      socket.destroy()
      if (result instanceof Error) reject(result)
      else resolve(result)
    }
    const timer = setTimeout(
      () => finish(new Error(`no end after ${timeoutMs} ms: ${script}\n${out}`)),
      timeoutMs,
    )
    socket.on('data', (bytes: Buffer) => {
      out += bytes.toString()
      const end = /\n@@exit (\d+)\n$/.exec(out)
      if (end !== null) finish({ code: Number(end[1]), out: out.slice(0, end.index) })
    })
    socket.on('error', (error) => finish(error))
    socket.on('close', () => finish(new Error(`the guest hung up: ${script}\n${out}`)))
    // The script itself comes in on the shell's input, which no command may read from.
    socket.write(`(\n${script}\n) < /dev/null 2>&1\nprintf '\\n@@exit %d\\n' $?\nexit\n`)
  })
}

/** Starts the emulator and waits for its `ready`; the test's teardown ends it. */
export async function boot(
  t: { teardown(f: () => Promise<void>): void; comment(text: string): void },
  o: { dasPort: number },
): Promise<Guest> {
  const built = await image((line) => t.comment(line))
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort('tcp')
    const child = emulator(built, port, o.dasPort)
    let text = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        text += bytes.toString()
      })
    }
    const ended = new Promise<void>((resolve) => {
      child.once('close', () => resolve())
      child.once('error', (error) => {
        text += error.message
        resolve()
      })
    })
    const powerOff = async () => {
      child.kill('SIGKILL')
      await ended
    }
    t.teardown(powerOff)
    const gone = () => child.exitCode !== null || child.signalCode !== null
    await waitFor(
      () => /@@ ready/.test(text) || gone(),
      BOOT_TIMEOUT_MS,
      () => `the guest did not start:\n${text.slice(-4_000)}`,
    )
    if (/@@ failed/.test(text)) throw new Error(`the guest is not whole:\n${text}`)
    if (!gone()) return commands(port, powerOff, () => text)
    if (attempt === BOOT_ATTEMPTS || !/forwarding/.test(text)) {
      throw new Error(`the emulator ended with ${child.exitCode}:\n${text}`)
    }
  }
}

function commands(port: number, powerOff: () => Promise<void>, console: () => string): Guest {
  const ap = (command: string, timeoutMs = COMMAND_TIMEOUT_MS) => shell(port, command, timeoutMs)
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`
  const tail = (log: string, from = 0) => `tail -c +${from + 1} ${log}`
  const read = async (log: string, from = 0) => (await ap(tail(log, from))).out
  return {
    ...{ ap, read, powerOff, console },
    station: (command, timeoutMs) =>
      ap(`nsenter --net=/proc/$(cat /run/station)/ns/net sh -c ${quoted(command)}`, timeoutMs),
    async write(path, text) {
      const base64 = Buffer.from(text).toString('base64').replace(/.{76}/g, '$&\n')
      const { code, out } = await ap(`base64 -d > ${path} <<E\n${base64}\nE`)
      if (code !== 0) throw new Error(`${path}: ${out}`)
    },
    async length(log) {
      return Number((await ap(`cat ${log} | wc -c`)).out.trim())
    },
    async logged(log, pattern, { from = 0, timeoutMs = 30_000 } = {}) {
      const rounds = Math.ceil(timeoutMs / 200)
      const look = `${tail(log, from)} | grep -qE ${quoted(pattern)}`
      // Emulated, a round takes longer than its sleep: the time is measured here as well.
      const loop = `i=0; until ${look}; do i=$((i+1)); [ $i -gt ${rounds} ] && exit 1; sleep 0.2; done`
      const { code } = await ap(loop, timeoutMs * 2)
      if (code !== 0) {
        const end = (await read(log, from)).slice(-6_000)
        throw new Error(`${log}: nothing like ${pattern} within ${timeoutMs} ms:\n${end}`)
      }
    },
  }
}
