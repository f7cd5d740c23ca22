// Where passwords come from, and that their absence is said.

import t from 'tap'
import { knownPassword, newPassword } from '../../cli/password.ts'
import { fakeTerminal } from './terminal-double.ts'

const ask = (...answers: string[]) => fakeTerminal({ answers }).terminal
const env = (DATANET_PASSWORD: string) => fakeTerminal({ env: { DATANET_PASSWORD } }).terminal

t.test('the environment first, then a person, else it says so', async (t) => {
  t.equal(await newPassword(env('from env')), 'from env')
  t.equal(await knownPassword(env(' kept as it is ')), ' kept as it is ')
  t.equal(await newPassword(ask('typed', 'typed')), 'typed')
  t.equal(await knownPassword(ask('typed')), 'typed')
  for (const terminal of [fakeTerminal().terminal, env('')]) {
    const error = { exitCode: 64, message: /set \$DATANET_PASSWORD, or run this in a terminal/ }
    await t.rejects(newPassword(terminal), error)
    await t.rejects(knownPassword(terminal), error)
  }
})

t.test('a weak new password is warned of, in words that do not hold it', async (t) => {
  const warning = async (password: string): Promise<string> => {
    const { terminal, err } = fakeTerminal({ env: { DATANET_PASSWORD: password } })
    t.equal(await newPassword(terminal), password)
    return err.join('\n')
  }
  t.match(await warning('qz7!'), /^warning: the password is shorter than 8 characters/)
  t.notMatch(await warning('qz7!'), 'qz7!')
  t.match(await warning('…'), /still the placeholder/)
  t.notMatch(await warning('…'), '…')
  t.equal(await warning('12345678'), '')
  const typed = fakeTerminal({ answers: ['qz7!', 'qz7!'] })
  await newPassword(typed.terminal)
  t.match(typed.err.at(-1), /^warning: /)
})

t.test('a new password is typed twice and is not empty', async (t) => {
  await t.rejects(newPassword(ask('one', 'two')), { exitCode: 77, message: /differ/ })
  await t.rejects(newPassword(ask('')), { exitCode: 77, message: /empty/ })
})
