// The suite's server below a tenant's path: node origin.mjs SUITE PORT RECORD
//
// The suite's own entry point serves from the root alone. Its clock stands still, so that two runs can be compared; what
// arrives is written to RECORD, one JSON object per line, as it was received.
import fs from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [suite, port, record] = process.argv.slice(2)
const load = async name => (await import(pathToFileURL(path.join(suite, 'server', name)))).default
const handlers = {
  config: await load('handle-config.mjs'),
  state: await load('handle-state.mjs'),
  test: await load('handle-test.mjs')
}
const now = new Date(Math.floor(Date.now() / 1000) * 1000)
Date.now = () => now.getTime()
const out = fs.createWriteStream(record)

const server = http.createServer((request, response) => {
  const [empty, tenant, api, v1, kind, ...rest] = new URL(request.url, 'http://localhost').pathname.split('/')
  if (empty !== '' || tenant !== 'Cust12345' || api !== 'api' || v1 !== 'v1' || !(kind in handlers)) {
    response.writeHead(404).end()
    return
  }
  if (kind === 'test') {
    const { method, url, httpVersion, rawHeaders } = request
    out.write(JSON.stringify({ uuid: rest[0], method, url, httpVersion, rawHeaders }) + '\n')
  }
  // Node's own Date would tell the runs apart.
  response.sendDate = false
  const writeHead = response.writeHead
  response.writeHead = (...head) => {
    if (!response.hasHeader('date')) response.setHeader('Date', now.toUTCString())
    // A coding that nobody knows: its body ends with the connection.
    if (response.hasHeader('transfer-encoding')) response.shouldKeepAlive = false
    return writeHead.apply(response, head)
  }
  handlers[kind](rest, request, response)
})
// An idle connection that is closed while a request is on its way is another story than the suite's.
server.keepAliveTimeout = 0
server.listen(Number(port), '127.0.0.1')
