// Runs the suite once: node client.mjs SUITE BASE VERSION RESULT
//
// VERSION is 1.1, or 2 for cleartext HTTP/2 by prior knowledge. RESULT is a JSON file: the suite's verdicts, each test's UUID, and
// every answer as it was received. The suite's `fetch` is made of node's http and http2 here, because those show header lines as
// they came.
import fs from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [suite, base, version, result] = process.argv.slice(2)
const load = name => import(pathToFileURL(path.join(suite, name)))
const { runTests, getResults } = await load('client/runner.mjs')
const { testUUIDs } = await load('client/test.mjs')
const suites = [...(await load('tests/index.mjs')).default, (await load('tests/surrogate-control.mjs')).default]
// Some requests share an array of header lines, to which each adds its own: in an order that no two runs have in common.
const tests = suites.map(({ tests, ...rest }) => ({ ...rest, tests: tests.map(({ requests, ...test }) => ({ ...test, requests: requests.map(one => structuredClone(one)) })) }))

// A connection for each request: some tests leave theirs unusable.
const agent = new http.Agent({ keepAlive: false, maxSockets: 64 })
const session = version === '2' ? http2.connect(new URL(base).origin) : null
const answers = []

async function fetch (url, init = {}) {
  const lines = (init.headers ?? []).map(([name, value]) => [name, String(value)])
  if (init.body !== undefined) lines.push(['Content-Length', String(Buffer.byteLength(init.body))])
  const answer = await (session ? overHttp2 : overHttp1)(new URL(url), init.method ?? 'GET', lines, init.body)
  answers.push({ uuid: url.split('/test/')[1]?.split(/[/?]/)[0], ...answer })
  const headers = new Headers()
  for (let i = 0; i < answer.rawHeaders.length; i += 2) {
    if (!answer.rawHeaders[i].startsWith(':')) headers.append(answer.rawHeaders[i], answer.rawHeaders[i + 1])
  }
  return { status: answer.status, statusText: answer.reason, headers, text: async () => answer.body }
}

function overHttp1 (url, method, lines, body) {
  return new Promise((resolve, reject) => {
    const headers = [['Host', url.host], ...lines].flat()
    const request = http.request(url, { method, agent, headers }, async response => {
      const { statusCode: status, statusMessage: reason, rawHeaders } = response
      try {
        resolve({ status, reason, rawHeaders, body: await text(response) })
      } catch (error) {
        reject(error)
      }
    })
    request.on('error', reject)
    request.end(body)
  })
}

function overHttp2 (url, method, lines, body) {
  return new Promise((resolve, reject) => {
    const headers = { ':method': method, ':path': url.pathname + url.search }
    for (const [name, value] of lines) (headers[name.toLowerCase()] ??= []).push(value)
    const stream = session.request(headers, { endStream: body === undefined })
    stream.on('response', async (fields, _, rawHeaders) => {
      try {
        resolve({ status: fields[':status'], reason: '', rawHeaders, body: await text(stream) })
      } catch (error) {
        reject(error)
      }
    })
    stream.on('error', reject)
    if (body !== undefined) stream.end(body)
  })
}

async function text (stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

await runTests(tests, fetch, false, base)
fs.writeFileSync(result, JSON.stringify({ verdicts: getResults(), uuids: testUUIDs, answers }, null, 1))
agent.destroy()
session?.close()
