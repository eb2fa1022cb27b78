import t from 'tap'
import { connectionFailure } from '../../src/a1111/failures.ts'
import { exhaustionOf, ownFaultOf } from '../../src/lib/http/client.ts'

const failed = (code: string, syscall = 'connect') => Object.assign(new Error(`${syscall} ${code}`), { code, syscall })
const online = () => true
const offline = () => false

t.test('a machine that cannot open connections differs from a server that rejects them', async t => {
  for (const code of ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL', 'ENETDOWN']) {
    t.equal(ownFaultOf(failed(code), online), code)
    t.equal(exhaustionOf(new Error('no connection', { cause: failed(code) })), code, 'within another error')
  }
  t.equal(ownFaultOf(failed('EBUSY', 'getaddrinfo'), online), 'EBUSY', 'what a lookup says without file handles')
  for (const code of ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH']) {
    t.equal(ownFaultOf(failed(code), offline), null, code)
  }
  for (const error of [new Error('no answer within 5000 ms'), null, 'EMFILE']) t.equal(ownFaultOf(error, offline), null)
})

t.test('errors with two possible causes belong to a machine without any network', async t => {
  for (const code of ['ENETUNREACH', 'EAI_AGAIN']) {
    t.equal(ownFaultOf(failed(code), offline), code)
    t.equal(ownFaultOf(failed(code), online), null)
    t.equal(exhaustionOf(failed(code)), null)
  }
})

t.test('one of several addresses that is unusable here means nothing for the others', async t => {
  const mixed = Object.assign(new AggregateError([failed('EADDRNOTAVAIL'), failed('ECONNREFUSED')]), { code: 'EADDRNOTAVAIL' })
  t.equal(ownFaultOf(mixed, online), null)
  t.match(connectionFailure(mixed, 'connecting'), { failureClass: 'server-down', code: 'connection_refused' })
  const all = Object.assign(new AggregateError([failed('EMFILE'), failed('EMFILE')]), { code: 'EMFILE' })
  t.equal(ownFaultOf(all, online), 'EMFILE')
  t.match(connectionFailure(all, 'connecting'), { failureClass: 'internal', code: 'out_of_handles' })
})
