// WebSocket through soproxy's tunnel, with the package `ws` at both ends: node judge.mjs WS ORIGIN-PORT PROXY-PORT
//
// Every check runs directly first: what fails there is the judge's own fault, and ends it.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const [ws, originPort, proxyPort] = process.argv.slice(2)
const { WebSocket, WebSocketServer } = await import(pathToFileURL(path.join(ws, 'wrapper.mjs')))
const api = '/Cust12345/api/v1'
const patience = 10_000

// The origin: echoes, and says what the path asks for.
let seen // the server's end of the connection made last
const server = http.createServer((_, response) => response.end('plain\n'))
const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 << 20, perMessageDeflate: { threshold: 100 }, handleProtocols: asked => [...asked].at(-1) })
server.on('upgrade', (request, socket, head) => {
  const what = request.url.split('/').at(-1)
  if (what === 'refuse') {
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\nConnection: close\r\n\r\nnot you\n')
    return
  }
  sockets.handleUpgrade(request, socket, head, peer => {
    seen = { peer, request, socket, closed: once(peer, 'close') }
    peer.on('error', () => {})
    if (what === 'greet') peer.send('first word') // in one packet with the 101, more often than not
    peer.on('message', (data, binary) => {
      if (what !== 'mute') peer.send(data, { binary })
    })
  })
})
server.listen(Number(originPort), '127.0.0.1')
await once(server, 'listening')

/** An open connection, whose messages can be awaited. */
async function open (port, what, { protocols = [], ...options } = {}) {
  const peer = new WebSocket(`ws://127.0.0.1:${port}${api}/${what}`, protocols, { maxPayload: 64 << 20, ...options })
  peer.messages = []
  peer.on('error', error => { peer.failure = error })
  peer.on('message', (data, binary) => peer.messages.push(binary ? data : String(data)))
  await Promise.race([once(peer, 'open'), once(peer, 'close').then(() => { throw peer.failure ?? new Error('closed') })])
  return peer
}

async function until (condition, what) {
  const end = Date.now() + patience
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`)
    await sleep(2)
  }
}

async function echoed (peer, ...messages) {
  const before = peer.messages.length
  for (const message of messages) peer.send(message)
  await until(() => peer.messages.length >= before + messages.length, 'the echo')
  same(digest(peer.messages.slice(before)), digest(messages))
}

const digest = messages => messages.map(one => `${typeof one} ${createHash('sha256').update(one).digest('hex')}`).join('\n')

function same (got, wanted) {
  if (String(got) !== String(wanted)) throw new Error(`${got} instead of ${wanted}`)
}

/** The bytes that come back for bytes sent as they are. */
async function raw (port, bytes, enough) {
  const socket = net.connect(port, '127.0.0.1')
  let got = ''
  socket.on('data', data => { got += data.toString('latin1') })
  socket.on('error', () => {})
  socket.write(bytes)
  await until(() => enough(got) || socket.destroyed, 'an answer')
  socket.destroy()
  return got
}

const handshake = (what, more = '') => `GET ${api}/${what} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
  `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${more}\r\n`

const checks = {
  'text, and what is not ASCII in it': async port => echoed(await open(port, 'echo'), 'hello', 'åäö 🙂', ''),
  'binary': async port => echoed(await open(port, 'echo'), Buffer.from([0, 255, 128, 10]), Buffer.alloc(0)),
  'messages at the edges of frame lengths': async port => {
    const sizes = [125, 126, 127, 65535, 65536, 65537]
    await echoed(await open(port, 'echo', { perMessageDeflate: false }), ...sizes.map(size => randomBytes(size)))
  },
  '1 MB of text and of binary': async port => echoed(await open(port, 'echo'), 'å'.repeat(1 << 19), randomBytes(1 << 20)),
  '20 MB in one message': async port => echoed(await open(port, 'echo', { perMessageDeflate: false }), randomBytes(20 << 20)),
  '2,000 small messages, in order': async port => echoed(await open(port, 'echo'), ...Array.from({ length: 2000 }, (_, i) => `message ${i}`)),
  'a message in fragments': async port => {
    const peer = await open(port, 'echo')
    for (const [part, fin] of [['one ', false], ['two ', false], ['three', true]]) peer.send(part, { fin })
    await until(() => peer.messages.length === 1, 'the echo')
    same(peer.messages[0], 'one two three')
  },
  'the server speaks first': async port => {
    const peer = await open(port, 'greet')
    await until(() => peer.messages.length === 1, 'the first word')
    same(peer.messages[0], 'first word')
  },
  'ping from the client': async port => {
    const peer = await open(port, 'echo')
    const pong = once(peer, 'pong')
    peer.ping('payload')
    same(await within(pong), 'payload')
  },
  'ping from the server': async port => {
    await open(port, 'echo')
    const pong = once(seen.peer, 'pong')
    seen.peer.ping('payload')
    same(await within(pong), 'payload')
  },
  'the client closes with a code and a reason': async port => {
    const peer = await open(port, 'echo')
    const closed = once(peer, 'close')
    peer.close(4001, 'enough, said å')
    same(await within(seen.closed), '4001,enough, said å')
    same(await within(closed), '4001,enough, said å')
  },
  'the server closes with a code and a reason': async port => {
    const peer = await open(port, 'echo')
    const closed = once(peer, 'close')
    seen.peer.close(1012, 'restart')
    same(await within(closed), '1012,restart')
    same(await within(seen.closed), '1012,restart')
  },
  'the client is gone without a word': async port => {
    const peer = await open(port, 'echo')
    peer.terminate()
    same((await within(seen.closed))[0], 1006)
  },
  'the server is gone without a word': async port => {
    const peer = await open(port, 'echo')
    const closed = once(peer, 'close')
    seen.peer.terminate()
    same((await within(closed))[0], 1006)
  },
  'the subprotocol chosen is the server\'s': async port => same((await open(port, 'echo', { protocols: ['a', 'b', 'c'] })).protocol, 'c'),
  'compression is negotiated end to end': async port => {
    const peer = await open(port, 'echo')
    same(peer.extensions, 'permessage-deflate')
    await echoed(peer, 'x'.repeat(100_000))
  },
  'a refusal arrives with its body': async port => {
    const got = await raw(port, handshake('refuse'), got => got.endsWith('not you\n'))
    if (!/^HTTP\/1\.1 403 /.test(got) || !got.endsWith('\r\n\r\nnot you\n')) throw new Error(got)
  },
  'what the client says right behind its handshake': async port => {
    // A masked text frame "hi", with a mask of zeros.
    const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69])
    const got = await raw(port, Buffer.concat([Buffer.from(handshake('echo')), frame]), got => got.endsWith('\x81\x02hi'))
    if (!/^HTTP\/1\.1 101 /.test(got) || !got.endsWith('\x81\x02hi')) throw new Error(JSON.stringify(got))
  },
  'a server that answers 200 to an upgrade': async port => {
    const got = await raw(port, handshake('x').replace('Upgrade: websocket', 'Upgrade: something'), got => /\r\n\r\n/.test(got))
    if (!/^HTTP\/1\.1 (200|400) /.test(got)) throw new Error(got)
  },
  '100 connections at once': async port => {
    const peers = await Promise.all(Array.from({ length: 100 }, () => open(port, 'echo')))
    await Promise.all(peers.map((peer, i) => echoed(peer, `I am ${i}`)))
    await Promise.all(peers.map(peer => { peer.close(); return within(once(peer, 'close')) }))
  },
  'two seconds of silence end nothing': async port => {
    const peer = await open(port, 'echo')
    await sleep(2000)
    await echoed(peer, 'still there')
  },
  'plain requests go on beside it': async port => {
    const peer = await open(port, 'echo')
    same(await (await fetch(`http://127.0.0.1:${port}${api}/x`)).text(), 'plain\n')
    await echoed(peer, 'and so does this')
  },
  'a client that does not read holds up the server, and nothing is lost': async port => {
    const peer = await open(port, 'mute', { perMessageDeflate: false })
    peer.pause()
    for (let i = 0; i < 32; i++) seen.peer.send(Buffer.alloc(1 << 20, i))
    await sleep(300)
    if (seen.peer.bufferedAmount === 0) throw new Error('32 MB went into a client that reads nothing')
    peer.resume()
    await until(() => peer.messages.length === 32, 'all of it')
    same(peer.messages.map((one, i) => one.length === 1 << 20 && one[0] === i && one.at(-1) === i).every(Boolean), true)
  }
}

// What only soproxy does.
const proxyChecks = {
  'the server sees the ticket and our Via': async port => {
    await open(port, 'echo', { headers: { Authorization: 'Basic x', 'SO-AppToken': 'y' } })
    const { headers } = seen.request
    if (!/^SOTicket 7T:/.test(headers.authorization)) throw new Error(`Authorization: ${headers.authorization}`)
    if (!headers['so-apptoken'] || headers['so-apptoken'] === 'y') throw new Error(`SO-AppToken: ${headers['so-apptoken']}`)
    if (!/soproxy/.test(headers.via)) throw new Error(`Via: ${headers.via}`)
  },
  'a web page is refused': async port => {
    const got = await raw(port, handshake('echo', 'Origin: http://evil.example\r\n'), got => /\r\n\r\n/.test(got))
    if (!/^HTTP\/1\.1 403 /.test(got) || !/forbidden_origin/.test(got)) throw new Error(got)
  },
  'an upgrade over HTTP/1.0 is none': async port => {
    const got = await raw(port, handshake('echo').replace('HTTP/1.1', 'HTTP/1.0'), got => /\r\n\r\n/.test(got))
    if (/^HTTP\/1\.. 101 /.test(got)) throw new Error(got)
  }
}

function within (promise) {
  return Promise.race([promise, sleep(patience).then(() => { throw new Error('waited in vain') })])
}

let passed = 0
let failed = 0
for (const [how, port, some] of [['directly', originPort, checks], ['through soproxy', proxyPort, { ...checks, ...proxyChecks }]]) {
  for (const [name, check] of Object.entries(some)) {
    try {
      await check(Number(port))
      if (how !== 'directly') {
        console.log(`ok - ${name}`)
        passed++
      }
    } catch (error) {
      console.log(`not ok - ${name}${how === 'directly' ? ', directly' : ''}\n    ${error.message.replaceAll('\n', '\n    ')}`)
      failed++
    }
    for (const peer of sockets.clients) peer.terminate()
  }
  if (how === 'directly' && failed) break
}
console.log(`# ${passed} ok, ${failed} not ok`)
process.exit(failed ? 1 : 0)
