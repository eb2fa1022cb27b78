import t from 'tap'
import { contains, dotted, groupsOf, isNetwork, networkList, unmapped } from '../../src/lib/ip.ts'

t.test('a network is an address, alone or with a prefix length', async t => {
  for (const network of ['10.0.0.0/8', '10.1.2.3', '0.0.0.0/0', '::1', 'fd00::/8', '::/0', '2001:db8::/128']) {
    t.ok(isNetwork(network), network)
  }
  for (const wrong of ['', 'lan', 'a/8', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/8', '10/8', '::1/129', '::1/x']) {
    t.notOk(isNetwork(wrong), wrong)
  }
})

t.test('an address is in the networks that contain it, in any notation', async t => {
  const list = networkList(['10.0.0.0/8', '192.168.1.5', 'fd00::/8', '::1'])
  for (const inside of ['10.255.0.1', '192.168.1.5', 'fdab::1', '::1', '::ffff:10.0.0.1', '::ffff:a00:1']) {
    t.ok(contains(list, inside), inside)
  }
  for (const outside of ['11.0.0.1', '192.168.1.6', 'fe80::1', '::2', '::ffff:11.0.0.1', 'localhost', '', undefined]) {
    t.notOk(contains(list, outside), String(outside))
  }
})

t.test('an IPv4 address inside an IPv6 one is found in any notation', async t => {
  t.equal(unmapped('::ffff:127.0.0.1'), '127.0.0.1')
  t.equal(unmapped('::FFFF:7F00:1'), '127.0.0.1')
  t.equal(unmapped('0:0:0:0:0:ffff:c0a8:0105'), '192.168.1.5')
  t.equal(unmapped('fe80::1%eth0'), 'fe80::1')
  t.equal(unmapped('2001:0DB8::0001'), '2001:db8::1')
  t.equal(unmapped('10.0.0.1'), '10.0.0.1')
})

t.test('an IPv6 address has eight groups', async t => {
  t.same(groupsOf('::'), [0, 0, 0, 0, 0, 0, 0, 0])
  t.same(groupsOf('2001:db8::6'), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 6])
  t.same(groupsOf('1:2:3:4:5:6:7:8'), [1, 2, 3, 4, 5, 6, 7, 8])
  t.same(groupsOf('64:ff9b::192.0.2.33'), [0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x221])
  t.equal(dotted(0xc000, 0x221), '192.0.2.33')
})
