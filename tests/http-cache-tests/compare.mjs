// The transparency diff: node compare.mjs DIRECT THROUGH RECORD EXPECTED HOW
//
// DIRECT and THROUGH are results of client.mjs, RECORD is what the origin saw in both runs, HOW is http1 or http2. Compares the
// suite's verdicts, every request as the origin saw it, and every answer as the client saw it. Whatever differs must stand in
// EXPECTED with its reason, and whatever stands there must differ.
import fs from 'node:fs'

const [directFile, throughFile, recordFile, expectedFile, how] = process.argv.slice(2)
const read = file => JSON.parse(fs.readFileSync(file, 'utf8'))
const direct = read(directFile)
const through = read(throughFile)
const record = fs.readFileSync(recordFile, 'utf8').trim().split('\n').map(line => JSON.parse(line))

// Lines of EXPECTED: [http1|http2] WHAT, then two blanks or more and the reason.
const expected = new Map()
for (const line of fs.readFileSync(expectedFile, 'utf8').split('\n')) {
  if (line.trim() === '' || line.startsWith('#')) continue
  const [what, reason] = line.split(/ {2,}/)
  const only = what.match(/^(http[12]) (.*)/)
  if (!reason) throw new Error(`${expectedFile}: no reason in: ${line}`)
  if (!only || only[1] === how) expected.set(only ? only[2] : what, reason)
}

const differences = new Map() // what → the tests it was seen in, and an example
function differs (what, test, example) {
  if (!differences.has(what)) differences.set(what, { tests: [], example })
  differences.get(what).tests.push(test)
}

/** A run's requests or answers, by test. */
function byTest (run, list) {
  const found = new Map()
  for (const [test, uuid] of Object.entries(run.uuids)) {
    const anonymous = item => JSON.parse(JSON.stringify(item).replaceAll(uuid, '<uuid>'))
    found.set(test, list.filter(item => item.uuid === uuid).map(anonymous))
  }
  return found
}

/** Header lines as name → [[name as written, value], …]; an HTTP/2 pseudo-header is none. */
function lines (rawHeaders) {
  const found = new Map()
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [name, value] = rawHeaders.slice(i, i + 2)
    if (name.startsWith(':')) continue
    found.set(name.toLowerCase(), [...found.get(name.toLowerCase()) ?? [], [name, value]])
  }
  return found
}

function compareHeaders (side, test, before, after) {
  const [had, has] = [lines(before), lines(after)]
  for (const name of new Set([...had.keys(), ...has.keys()])) {
    const [old, now] = [had.get(name), has.get(name)]
    const show = lines => JSON.stringify(lines?.map(([, value]) => value))
    if (!old) differs(`${side} added ${name}`, test, show(now))
    else if (!now) differs(`${side} removed ${name}`, test, show(old))
    else if (show(old) !== show(now)) differs(`${side} changed ${name}`, test, `${show(old)} → ${show(now)}`)
    else if (how === 'http1' && String(old) !== String(now)) differs(`${side} spelled ${name}`, test, `${old} → ${now}`)
  }
}

function compareAll (side, before, after, fields) {
  let count = 0
  for (const [test, olds] of before) {
    const news = after.get(test) ?? []
    if (olds.length !== news.length) differs(`${side} count of ${test}`, test, `${olds.length} → ${news.length}`)
    for (let i = 0; i < Math.min(olds.length, news.length); i++) {
      count++
      for (const field of fields) {
        if (olds[i][field] !== news[i][field]) differs(`${side} ${field} of ${test}`, test, `${olds[i][field]} → ${news[i][field]}`)
      }
      compareHeaders(side, test, olds[i].rawHeaders, news[i].rawHeaders)
    }
  }
  return count
}

for (const [test, verdict] of Object.entries(direct.verdicts)) {
  const [old, now] = [String(verdict), String(through.verdicts[test])].map(text => text.replace(/[0-9a-f]{8}-[0-9a-f-]{27,30}/g, '<uuid>'))
  if (old !== now) differs(`verdict ${test}`, test, `${old} → ${now}`)
}
const requests = compareAll('request', byTest(direct, record), byTest(through, record), ['method', 'url', 'httpVersion'])
const fields = how === 'http1' ? ['status', 'reason', 'body'] : ['status', 'body']
const answers = compareAll('answer', byTest(direct, direct.answers), byTest(through, through.answers), fields)

const passed = Object.values(direct.verdicts).filter(verdict => verdict === true).length
console.log(`# ${how}: ${Object.keys(direct.verdicts).length} tests (${passed} pass directly: the origin is no cache), ${requests} requests, ${answers} answers compared`)
let failures = 0
for (const [what, { tests, example }] of [...differences].sort()) {
  const reason = expected.get(what)
  const where = tests.length > 3 ? `${tests.length} times` : [...new Set(tests)].join(', ')
  if (!reason) failures++
  console.log(`${reason ? 'ok' : 'not ok'} - ${how}: ${what} (${where}): ${reason ?? example}`)
}
for (const what of expected.keys()) {
  if (differences.has(what)) continue
  failures++
  console.log(`not ok - ${how}: expected, but nothing differs: ${what}`)
}
// A run that compared next to nothing proves nothing.
if (requests < 500 || answers < 500) {
  failures++
  console.log(`not ok - ${how}: only ${requests} requests and ${answers} answers`)
}
process.exitCode = failures ? 1 : 0
