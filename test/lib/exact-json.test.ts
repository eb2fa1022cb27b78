import fc from 'fast-check'
import t from 'tap'
import {
  narrowInteger, noteFloat, parseJsonText, parsePythonJson, stringifyJson, stringifyKeepingFloats, withExactIntegers,
  withFloatsOf
} from '../../src/lib/exact-json.ts'
import { parseJson } from '../../src/lib/json.ts'

t.test('integers keep all their digits, whatever surrounds them', async t => {
  const text = '{"a":[18446744073709551615,-9223372036854775808,9007199254740993],"b":{"9007199254740993":"18446744073709551615"},' +
    '"c":"say \\"12345678901234567890\\" \\\\","d":1.12345678901234567890,"e":1e20,"f":9007199254740991,"g":-1}'
  const value = parseJsonText(text)
  t.same(value, {
    a: [18446744073709551615n, -9223372036854775808n, 9007199254740993n],
    b: { '9007199254740993': '18446744073709551615' },
    c: 'say "12345678901234567890" \\',
    d: Number('1.12345678901234567890'),
    e: 1e20,
    f: 9007199254740991,
    g: -1
  })
  t.same(parseJsonText(stringifyJson(value)), value)
  t.match(stringifyJson(value), '[18446744073709551615,-9223372036854775808,9007199254740993]')
})

t.test('whole numbers with a decimal point keep it on request', async t => {
  const text = '{"a":[1.0,1,-0.0,0.0,2.50,100.0],"b":{"weight":1.0,"say":"1.0","n":18446744073709551615},"1.0":7.00,"c":1e0}'
  const value = parseJsonText(text)
  t.same(value, { a: [1, 1, -0, 0, 2.5, 100], b: { weight: 1, say: '1.0', n: 18446744073709551615n }, '1.0': 7, c: 1 })
  t.equal(stringifyJson(value), '{"a":[1,1,0,0,2.5,100],"b":{"weight":1,"say":"1.0","n":18446744073709551615},"1.0":7,"c":1}')
  t.equal(stringifyKeepingFloats(value),
    '{"a":[1.0,1,0.0,0.0,2.5,100.0],"b":{"weight":1.0,"say":"1.0","n":18446744073709551615},"1.0":7.0,"c":1}')
  const list = parseJsonText('[1.0,2]') as number[]
  t.equal(stringifyKeepingFloats([...list]), '[1,2]', 'a copy knows nothing of it')
  t.equal(stringifyKeepingFloats(withFloatsOf(list, [...list])), '[1.0,2]')
  const fields = { cfg: 7, seed: 1 }
  noteFloat(fields, 'cfg')
  t.equal(stringifyKeepingFloats(fields), '{"cfg":7.0,"seed":1}')
})

t.test('invalid JSON stays invalid', async t => {
  for (const text of [
    '12345678901234567890abc', '00012345678901234567890', '[1 2345678901234567890]', '--12345678901234567890',
    '{12345678901234567890:1}', '{1.0:1}', '01.0', '1.0.0', '1.0a', '+1.0', '[1.0 2]', '"12345678901234567890', '+12345678901234567890', '12345678901234567890.'
  ]) t.throws(() => parseJsonText(text), SyntaxError, text)
})

t.test('Python\'s NaN and Infinity become null, outside texts', async t => {
  t.same(parsePythonJson('{"a":NaN,"b":[-Infinity, Infinity],"c":"NaN, \\"Infinity","NaN":18446744073709551615}'), {
    a: null, b: [null, null], c: 'NaN, "Infinity', NaN: 18446744073709551615n
  })
  for (const text of ['{"a":NaNa}', '{NaN:1}', 'xNaN', '[Infinity', '-1NaN']) t.throws(() => parsePythonJson(text), SyntaxError, text)
})

t.test('any value comes back unchanged, and ordinary ones equal those of JSON.parse', async () => {
  const integer = fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(narrowInteger)
  const leaf = fc.oneof(integer, fc.string(), fc.double({ noNaN: true }), fc.constant(null))
  const { value } = fc.letrec(tie => ({
    value: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('value')), fc.dictionary(fc.string(), tie('value')))
  }))
  fc.assert(fc.property(value, given => {
    const text = stringifyJson(given)
    // The built-in parser decides whether it is valid JSON.
    const usual = JSON.stringify(JSON.parse(text))
    return stringifyJson(parseJsonText(text)) === text && JSON.stringify(parseJsonText(text)) === usual
  }))
})

t.test('elsewhere a bigint loses digits instead of failing', async t => {
  t.equal(JSON.stringify({ a: 18446744073709551615n }), '{"a":18446744073709552000}')
  t.equal(withExactIntegers(() => JSON.stringify([18446744073709551615n])), '[18446744073709551615]')
  t.throws(() => withExactIntegers(() => { throw new Error('inside') }), /inside/)
  t.equal(JSON.stringify(18446744073709551615n), '18446744073709552000')
})

t.test('a body with long numbers has the same limits, and its errors have the same positions', async t => {
  t.same(parseJson('The body', Buffer.from('{"seed":18446744073709551615}')), { seed: 18446744073709551615n })
  t.throws(() => parseJson('The body', Buffer.from('{"seed":18446744073709551615,}')), /line 1, column 30/)
  t.throws(() => parseJson('The body', Buffer.from('{"seed":18446744073709551615,"__proto__":1}')), /__proto__/)
})
