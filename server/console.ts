// The first page of the console: who this operator is and how a device joins, read from
// /v1/operator by the page itself. One string, no template engine: nothing of a request ever goes
// into it.

const style = `
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; color: #1b1f24 }
  h1 { font-size: 1.6rem } code, pre { background: #f2f4f7; border-radius: 4px; padding: .1rem .3rem }
  pre { padding: .8rem; overflow-x: auto } td { padding: .15rem 1rem .15rem 0; vertical-align: top }
  td:first-child { color: #57606a } .bad { color: #b42318 }`

const script = `
  const row = (name, value) => {
    const line = document.createElement('tr')
    for (const text of [name, value]) line.appendChild(document.createElement('td')).textContent = text
    document.querySelector('table').appendChild(line)
  }
  const show = async () => {
    const answer = await fetch('/v1/operator')
    if (!answer.ok) throw new Error('the server answered ' + answer.status)
    const operator = await answer.json()
    document.title = operator.name
    document.querySelector('h1').textContent = operator.name
    row('operator', '#' + operator.operatorId + '  ' + operator.account)
    row('contract', operator.contract + ' on chain ' + operator.chainId)
    row('token', operator.token.symbol + '  ' + operator.token.address)
    row('server name', operator.serverName)
    row('server key', operator.serverSpkiSha256)
    for (const tariff of operator.tariffs) {
      const tokens = (units) => Number(units) / 10 ** operator.token.decimals
      row('tariff ' + tariff.name, tokens(tariff.perMinute) + ' a minute, ' + tokens(tariff.perMegabyte) +
        ' a megabyte, paid every ' + tariff.intervalSeconds + ' s')
    }
    const ready = await fetch('/readyz')
    row('state', ready.ok ? 'ready' : (await ready.json()).error.message)
  }
  show().catch((error) => {
    const line = document.body.appendChild(document.createElement('p'))
    line.className = 'bad'
    line.textContent = String(error)
  })`

/** The page. */
export const consolePage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Datanet</title><style>${style}</style></head>
<body><h1>Datanet</h1><table></table>
<h2>A device joins</h2>
<pre>DATANET_PASSWORD=… npx datanet device create alice --deposit 10
eapol_test -c alice/wpa_supplicant.conf -a 127.0.0.1 -p 1812 -s SECRET</pre>
<h2>An access point joins</h2>
<pre>npx datanet client add NAME IP</pre>
<p>Numbers for monitoring: <a href="/metrics">/metrics</a>. Health: <a href="/healthz">/healthz</a>,
<a href="/readyz">/readyz</a>.</p>
<script>${script}</script></body></html>
`

/** Only this page's own inline script may run, and nobody may frame it. */
export const consoleHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy':
    "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
} as const
