import t from 'tap'
import { RedisSilence, redisProblemOf } from '../../src/redis/errors.ts'

/** An error as ioredis makes it from an answer of Redis. */
function reply (message: string, more: object = {}): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' }, more)
}

t.test('rejections by Redis are recognized in every form', async t => {
  const forms: Array<[string, Error, string]> = [
    ['a command', reply("OOM command not allowed when used memory > 'maxmemory'."), 'OOM'],
    ['a command of a replica', reply("READONLY You can't write against a read only replica."), 'READONLY'],
    ['a script of Redis 7', reply("OOM command not allowed when used memory > 'maxmemory'. script: d8f2, on @user_script:1."), 'OOM'],
    ['a script of Redis 6', reply("ERR Error running script (call to f_ab): @user_script:5: @user_script: 5: -READONLY You can't write against a read only replica. "), 'READONLY'],
    ['a script without rights', reply('ERR The user executing the script can\'t run this command or subcommand'), 'NOPERM'],
    ['a script without rights, in Redis 7', reply('NOPERM ACL failure in script: User app has no permissions to run the \'set\' command'), 'NOPERM'],
    ['a transaction', reply('EXECABORT Transaction discarded because of previous errors.', {
      previousErrors: [reply('MISCONF Redis is configured to save RDB snapshots, but is unable to persist to disk')]
    }), 'MISCONF'],
    ['a transaction that says no more', reply('EXECABORT Transaction discarded because of previous errors.'), 'EXECABORT'],
    ['a cause', new Error('could not', { cause: reply('CLUSTERDOWN Hash slot not served') }), 'CLUSTERDOWN'],
    ...['NOREPLICAS Not enough good replicas to write.', 'LOADING Redis is loading the dataset in memory', 'BUSY Redis is busy running a script.',
      'MASTERDOWN Link with MASTER is down', 'TRYAGAIN Multiple keys request during rehashing of slot', 'MOVED 3999 127.0.0.1:6381',
      'NOAUTH Authentication required.', 'NOPERM this user has no permissions to access one of the keys used as arguments'
    ].map((text): [string, Error, string] => [text, reply(text), text.split(' ')[0] ?? ''])
  ]
  for (const [name, error, code] of forms) t.match(redisProblemOf(error), { kind: 'refused', code, reason: /\w{4}/ }, name)
})

t.test('a Redis that is away or silent differs from one that rejects', async t => {
  t.match(redisProblemOf(new RedisSilence('no answer')), { kind: 'silent' })
  t.match(redisProblemOf(new Error('Command timed out')), { kind: 'silent' })
  t.match(redisProblemOf(new Error("Stream isn't writeable and enableOfflineQueue options is false")), { kind: 'away' })
  t.match(redisProblemOf(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })), { kind: 'away' })
})

t.test('Redis is not blamed for our own errors', async t => {
  for (const error of [
    reply('WRONGTYPE Operation against a key holding the wrong kind of value'), reply('ERR unknown command \'OOM\''),
    new TypeError('OOM'), new Error('MISCONF'), 'OOM', undefined
  ]) t.equal(redisProblemOf(error), null)
})
