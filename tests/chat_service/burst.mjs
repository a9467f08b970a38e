// Drives examples/chat_service with autocannon and checks what comes of it: node burst.mjs SERVICE, where SERVICE is
// the program. Prints each case beside what was published of another service under the same burst. ci/chat-service
// runs it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import autocannon from 'autocannon'

const LATENCY = 5000
// What a case may take longer than one call of the provider: 5 %.
const LIMIT = LATENCY * 1.05
const SLOW = ['--latency', LATENCY, '--rate-limit', 1, '--strict-roles', '--pace', 1]
const PUBLISHED = { answered: '30 of 50', calls: 3, messages: 6, p50: 4965, p95: 6199 }

/** A running service in a folder of its own: its URL, its statistics, and its end. */
async function service(...args) {
  const cwd = await mkdtemp(join(tmpdir(), 'burst-'))
  const child = spawn(resolve(process.argv[2]), ['--listen', '127.0.0.1:0', '--run-for', '120', ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const ended = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  const [line] = await Promise.race([once(lines, 'line'), ended.then(() => assert.fail('the service has ended'))])
  const url = line.replace('listening on ', '')
  return {
    url,
    stats: async () => (await fetch(`${url}/stats`)).json(),
    end: async () => {
      child.kill('SIGINT')
      const [code] = await ended
      await rm(cwd, { recursive: true })
      assert.equal(code, 0, 'the service did not end well')
    }
  }
}

/** Answers and times in ms of so many requests; `path` and `text` are told the number of the connection. */
async function burst(url, { requests, connections = requests, path, text }) {
  let client = 0
  const load = autocannon({
    url,
    connections,
    amount: requests,
    timeout: 100,
    setupClient: (one) => {
      const number = client++
      const body = JSON.stringify({ content: text(number) })
      one.setRequests([{ method: 'POST', path: path(number), headers: { 'content-type': 'application/json' }, body }])
    }
  })
  const times = []
  load.on('response', (_, status, __, took) => status === 200 && times.push(took))
  const result = await load
  times.sort((a, b) => a - b)
  const percentile = (percent) => Math.round(times[Math.max(Math.ceil((times.length * percent) / 100) - 1, 0)])
  assert.equal(result.errors, 0, 'connections failed')
  return { answered: times.length, requests, p50: percentile(50), p95: percentile(95), max: percentile(100) }
}

function print(title, rows) {
  console.log(`\n${title}\n`)
  console.table(rows)
}

/** A burst, and what came of it. */
async function sample(running, load) {
  const before = await running.stats()
  const result = await burst(running.url, load)
  const after = await running.stats()
  return {
    answered: `${result.answered} of ${result.requests}`,
    calls: after.provider.calls - before.provider.calls,
    messages: after.messages - before.messages,
    p50: result.p50,
    p95: result.p95
  }
}

function check({ p50, p95, ...counts }, answered, calls, messages) {
  assert.deepEqual(counts, { answered, calls, messages })
  assert.ok(p95 <= LIMIT, `p95 is ${p95} ms, more than ${LIMIT}`)
}

async function identical() {
  const running = await service(...SLOW)
  const text = () => 'My parcel was due yesterday. Where is it?'
  const one = await sample(running, { requests: 50, path: () => '/threads/one/messages', text })
  const twenty = await sample(running, { requests: 20, path: (n) => `/threads/many-${n}/messages`, text })
  const again = { path: () => '/threads/waves/messages', text: () => 'Hello?' }
  const waves = await sample(running, { requests: 60, connections: 20, ...again })
  await running.end()
  print(`Provider: ${LATENCY} ms, 1 request per second, strict alternation. Times in ms.`, {
    '50 identical requests to 1 conversation': one,
    '  the published service': PUBLISHED,
    '20 conversations, 1 request each': twenty,
    '60 identical requests over 20 connections': waves
  })
  check(one, '50 of 50', 1, 2)
  check(twenty, '20 of 20', 1, 40)
  check(waves, '60 of 60', 1, 2)
}

/** All layers that the service has: a cache in front, and a budget that pays. */
async function stacked() {
  const running = await service(...SLOW, '--cache', 600, '--budget', 1)
  const say = (text) => ({ text: () => text })
  const one = await sample(running, { requests: 50, path: () => '/threads/one/messages', ...say('Where is it?') })
  const path = (n) => `/threads/many-${n}/messages`
  const twenty = await sample(running, { requests: 20, path, ...say('And where is the other one?') })
  const known = { path: (n) => `/threads/late-${n}/messages`, ...say('And where is the other one?') }
  const late = await sample(running, { requests: 20, ...known })
  const { cache, budget } = (await running.stats()).stack
  await running.end()
  print('The same provider, with a cache and a budget of 1 US dollar. Times in ms.', {
    '50 identical requests to 1 conversation': one,
    '20 conversations, 1 request each': twenty,
    '20 more, which ask the same later': late
  })
  check(one, '50 of 50', 1, 2)
  check(twenty, '20 of 20', 1, 40)
  check(late, '20 of 20', 0, 40)
  assert.equal(cache.hits, 20)
  assert.ok(budget.dollars_left < 1, 'nothing was paid')
}

async function paced() {
  const [pace, number] = [10, 200]
  const running = await service('--latency', 100, '--rate-limit', pace, '--pace', pace)
  const result = await burst(running.url, {
    requests: number,
    path: (n) => `/threads/paced-${n}/messages`,
    text: (n) => `Where is parcel ${n}?`
  })
  const { provider, messages } = await running.stats()
  await running.end()
  print(`${number} different requests at ${pace} per second, counted by the provider`, {
    '': {
      answered: `${result.answered} of ${number}`,
      calls: provider.calls,
      messages,
      'refused with 429': provider.answered_429,
      'most in a second': provider.busiest_second,
      'last answer after s': result.max / 1000
    }
  })
  assert.equal(result.answered, number)
  assert.deepEqual([provider.calls, messages, provider.answered_429], [number, 2 * number, 0])
  assert.ok(provider.busiest_second <= pace + 1 + 1, 'faster than the pace, the burst and one more')
}

// A stall of the machine can spoil one round, but not three.
for (const part of [identical, stacked, paced]) {
  for (let round = 1; ; round++) {
    try {
      await part()
      break
    } catch (error) {
      if (round === 3) throw error
      console.log(`again, because: ${error.message}`)
    }
  }
}
