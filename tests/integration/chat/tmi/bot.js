// A bot on tmi.js that does what it is told: a line of JSON in is a method call, a line out is an answer or an event.
const readline = require('node:readline')
const tmi = require('tmi.js')

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const quiet = { setLevel() {}, info() {}, warn: (text) => say({ warning: String(text) }), error: (text) => say({ error: String(text) }) }
const client = new tmi.Client({ logger: quiet, ...JSON.parse(process.argv[2]) })
// It gives up on an answer after 0.6 s, which is too short for a machine that is busy with other tests.
client._getPromiseDelay = () => 20_000

const EVENTS = [
  'connected', 'disconnected', 'join', 'part', 'chat', 'action', 'message', 'notice', 'roomstate', 'timeout', 'ban',
  'clearchat', 'messagedeleted', 'slowmode', 'followersonly', 'emoteonly', 'subscribers', 'r9kbeta', 'usernotice', 'names',
  'globaluserstate', 'reconnect', 'pong',
]
for (const name of EVENTS) client.on(name, (...values) => say({ event: name, values }))

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, method, values } = JSON.parse(line)
  try {
    say({ id, value: (await client[method](...values)) ?? null })
  } catch (refusal) {
    say({ id, refusal: String(refusal) })
  }
}).on('close', () => process.exit(0))
