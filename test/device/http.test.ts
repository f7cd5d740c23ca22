// Answers nobody vouches for: redirects, endless bodies, silence, broken JSON, hostile texts.

import { createServer } from 'node:http'
import t from 'tap'
import { parseOperatorUrl, refusalOf, requestJson } from '../../device/http.ts'
import { listening } from './operator-double.ts'

t.test('operator URLs', async (t) => {
  t.equal(parseOperatorUrl('http://127.0.0.1:8080'), 'http://127.0.0.1:8080')
  t.equal(parseOperatorUrl('https://a.example/op/'), 'https://a.example/op')
  const bad = ['', '127.0.0.1:8080', 'ftp://x', 'file:///x', 'http://', 'http://a?b', 'http://a#b']
  for (const text of [...bad, 'http://u:p@a', 'javascript:1']) {
    t.throws(() => parseOperatorUrl(text), { code: 'usage' }, text)
  }
})

t.test('answers that are not taken', async (t) => {
  const url = await listening(
    t,
    createServer((request, response) => {
      switch (request.url) {
        case '/redirect':
          return void response.writeHead(302, { location: '/json' }).end()
        case '/html':
          return void response.end('<html>')
        case '/empty':
          return void response.end()
        case '/endless': {
          const pour = (): void => {
            while (!response.destroyed && response.write('x'.repeat(65_536)));
            response.once('drain', pour)
          }
          return pour()
        }
        case '/silent':
          return
        case '/cut':
          response.writeHead(200, { 'content-length': 10 })
          return void response.write('{', () => response.destroy())
        default:
          return void response.end(
            JSON.stringify({ method: request.method, headers: request.headers }),
          )
      }
    }),
  )
  await t.rejects(requestJson(`${url}/redirect`), { code: 'refused', message: /redirect/ })
  await t.rejects(requestJson(`${url}/html`), { code: 'refused', message: /than JSON/ })
  await t.rejects(requestJson(`${url}/empty`), { code: 'refused', message: /than JSON/ })
  await t.rejects(requestJson(`${url}/endless`), { code: 'refused', message: /more than/ })
  await t.rejects(requestJson(`${url}/silent`, { timeoutMs: 50 }), {
    code: 'unavailable',
    message: /no answer in time/,
  })
  await t.rejects(requestJson(`${url}/cut`), { code: 'unavailable' })
  const { body } = await requestJson(`${url}/json`, { body: { a: 1 }, bearer: 'token' })
  t.match(body, { method: 'POST', headers: { authorization: 'Bearer token' } })
  t.match((await requestJson(`${url}/json`, { method: 'POST' })).body, { method: 'POST' })
})

t.test('an error message of the other side is one clean line', async (t) => {
  const message = `bad\n\u001b[31mred${'x'.repeat(1000)}`
  const shown = refusalOf({ status: 400, body: { error: { code: 'x', message } } })
  t.notMatch(shown, /\p{C}/u)
  t.equal(shown.length, 300)
  for (const body of [null, 'x', {}, { error: { message: 7 } }]) {
    t.equal(refusalOf({ status: 400, body }), 'status 400')
  }
})
