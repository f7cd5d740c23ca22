// The words after a verb: flags by node:util parseArgs, positionals by name, and every mistake as
// one line with the way to the help. Called by each verb; knows none of them.

import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { CommandError, Exit } from './exit.ts'

/** What a verb takes: `positionals` are required, in this order. */
export interface Grammar<Options extends ParseArgsOptionsConfig, Names extends string> {
  readonly verb: string
  readonly positionals: readonly Names[]
  /** Words that may follow them. */
  readonly optional?: readonly Names[]
  readonly options: Options
}

type Parsed<Options extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: Options; strict: true; allowPositionals: true }>
>['values']

/**
 * Flags and positionals of a verb. Throws CommandError 64 on unknown flags and on too few or too
 * many words.
 */
export function readArguments<
  const Options extends ParseArgsOptionsConfig,
  const Names extends string,
>(
  args: readonly string[],
  grammar: Grammar<Options, Names>,
): { readonly flags: Parsed<Options>; readonly words: Record<Names, string> } {
  const { flags, words } = split(args, grammar)
  const missing = grammar.positionals[words.length]
  if (missing !== undefined) throw usage(grammar.verb, `${missing} is missing`)
  const names = [...grammar.positionals, ...(grammar.optional ?? [])]
  const extra = words[names.length]
  if (extra !== undefined) throw usage(grammar.verb, `unexpected word ${JSON.stringify(extra)}`)
  const named = names.map((name, index) => [name, words[index]])
  return { flags, words: Object.fromEntries(named) }
}

/** The error for a wrong use of `verb`, with the way to its help. */
export function usage(verb: string, problem: string): CommandError {
  return new CommandError(Exit.usage, `${problem}; see: npx datanet ${verb} --help`)
}

function split<Options extends ParseArgsOptionsConfig>(
  args: readonly string[],
  grammar: { readonly verb: string; readonly options: Options },
): { flags: Parsed<Options>; words: string[] } {
  try {
    const { options } = grammar
    const parsed = parseArgs({ args: [...args], options, strict: true, allowPositionals: true })
    for (const [flag, value] of Object.entries(parsed.values)) {
      if (value === '') throw new TypeError(`--${flag} needs a value`)
    }
    return { flags: parsed.values, words: parsed.positionals }
  } catch (error) {
    // Node's text goes on after the first sentence with advice about "--" that fits no verb here.
    const [problem = ''] = (error as Error).message.split(/\. |\n/)
    throw usage(grammar.verb, problem.replace(/\.$/, ''))
  }
}
