// Which compiled addon the tests of the native engine load: the one that eap/native.ts takes, or
// the file named by DATANET_TEST_ENGINE. Only tests read that variable, and only those that compile
// the source in another way set it (test/interop/sanitizers.test.ts). Throws where there is none.

import { type Addon, loadAddon, loadNativeTlsEngine } from '../../eap/native.ts'
import type { EngineFactory } from './engine-conformance.ts'

const file = process.env['DATANET_TEST_ENGINE']

function orThrow<T extends object>(loaded: T | { readonly unavailable: string }): T {
  if ('unavailable' in loaded) {
    throw new Error(`the native engine must be built for this test: ${loaded.unavailable}`)
  }
  return loaded
}

/** Makes engines over the addon under test. */
export const nativeEngine = (): EngineFactory => orThrow(loadNativeTlsEngine(file))

/** The addon under test itself. */
export const nativeAddon = (): Addon => orThrow(loadAddon(file))
