// The native engine.

import t from 'tap'
import { loadNativeTlsEngine } from '../../eap/native.ts'
import { testEngine } from './engine-conformance.ts'

const create = loadNativeTlsEngine()
if ('unavailable' in create) throw new Error(create.unavailable)
testEngine(t, create)
