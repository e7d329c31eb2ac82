// A Kafka client on KafkaJS, all JavaScript.
//
//   client.js produce --bootstrap HOST:PORT,.. --client-id ID --topic T --acks 0|1|all --codec C --file F
//   client.js consume --bootstrap HOST:PORT,.. --client-id ID --topic T --group G --records N
//
// It produces the lines KEY:VALUE of a file, or prints what it consumes as lines PARTITION VALUE. At its end it prints, as
// one JSON object, what the client knows of itself.
'use strict'

const fs = require('node:fs')
const net = require('node:net')
const { parseArgs } = require('node:util')
const { CompressionCodecs, CompressionTypes, Kafka, Partitioners, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const { ZstdCodec } = require('zstd-codec')

// Messages in one call of send(), of which KafkaJS makes a batch for each partition.
const AT_ONCE = 50
const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  zstd: CompressionTypes.ZSTD,
}

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd()).compress(encoder.buffer)),
  decompress: async buffer => Buffer.from((await zstd()).decompress(buffer)),
})

function zstd() {
  return new Promise(resolve => ZstdCodec.run(codec => resolve(new codec.Simple())))
}

const options = {}
for (const name of ['bootstrap', 'client-id', 'topic', 'acks', 'codec', 'file', 'group', 'records']) {
  options[name] = { type: 'string' }
}
const { values: flags, positionals } = parseArgs({ options, allowPositionals: true })
const sockets = []
const apis = {}

const kafka = new Kafka({
  clientId: flags['client-id'],
  brokers: flags.bootstrap.split(','),
  logLevel: logLevel.ERROR,
  socketFactory: ({ host, port, onConnect }) => {
    const socket = net.connect(port, host, onConnect)
    sockets.push(socket)
    return socket
  },
})

function count({ payload: { apiName, apiVersion } }) {
  const api = (apis[apiName] ??= { requests: 0, min_version: apiVersion, max_version: apiVersion })
  api.requests += 1
  api.min_version = Math.min(api.min_version, apiVersion)
  api.max_version = Math.max(api.max_version, apiVersion)
}

async function produce() {
  const lines = fs.readFileSync(flags.file, 'utf8').split('\n').slice(0, -1)
  const messages = lines.map(line => {
    const colon = line.indexOf(':')
    return { key: line.slice(0, colon), value: line.slice(colon + 1) }
  })
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
  producer.on(producer.events.REQUEST, count)
  await producer.connect()
  const batches = []
  for (let first = 0; first < messages.length; first += AT_ONCE) {
    const answer = await producer.send({
      topic: flags.topic,
      acks: flags.acks === 'all' ? -1 : Number(flags.acks),
      compression: CODECS[flags.codec],
      messages: messages.slice(first, first + AT_ONCE),
    })
    batches.push(...answer)
  }
  await producer.disconnect()
  // An answer tells of its batches, but with acks=0 there is none.
  return { records: messages.length, batches: flags.acks === '0' ? null : batches.length }
}

async function consume() {
  const consumer = kafka.consumer({ groupId: flags.group, maxWaitTimeInMs: 100 })
  consumer.on(consumer.events.REQUEST, count)
  await consumer.connect()
  await consumer.subscribe({ topic: flags.topic, fromBeginning: true })
  let left = Number(flags.records)
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    const eachMessage = async ({ partition, message }) => {
      console.log(`${partition} ${message.value}`)
      left -= 1
      if (left === 0) resolve()
    }
    consumer.run({ eachMessage }).catch(reject)
  })
  await consumer.disconnect()
  return {}
}

async function main() {
  const told = await { produce, consume }[positionals[0]]()
  const sum = numbers => numbers.reduce((total, number) => total + number, 0)
  told.bytes_out = sum(sockets.map(socket => socket.bytesWritten))
  told.bytes_in = sum(sockets.map(socket => socket.bytesRead))
  told.requests = sum(Object.values(apis).map(api => api.requests))
  told.apis = apis
  console.log(JSON.stringify(told))
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
