import { describe, expect, test } from 'vitest'
import type { ConfigFault } from './faults.ts'
import { parseYaml } from './yaml.ts'

function parse(text: string) {
  const faults: ConfigFault[] = []
  const raw = parseYaml(text, { source: 'file', name: 'c.yaml' }, null, faults)
  return { raw, faults: faults.map(({ where, setting, problem }) => [where, setting, problem]) }
}

describe('parseYaml', () => {
  test('keeps every scalar as it was written, with its place', () => {
    const at = (line: number, column: number) => ({ source: 'file', name: 'c.yaml', line, column })
    const { raw, faults } = parse('price: 0.010\nnames: ["a\\tb", ~]\n')
    expect(faults).toEqual([])
    expect(raw).toEqual({
      kind: 'mapping',
      at: at(1, 1),
      entries: [
        { key: 'price', keyAt: at(1, 1), value: { kind: 'scalar', text: '0.010', style: 'plain', at: at(1, 8) } },
        {
          key: 'names',
          keyAt: at(2, 1),
          value: {
            kind: 'list',
            at: at(2, 8),
            items: [
              { kind: 'scalar', text: 'a\tb', style: 'quoted', at: at(2, 9) },
              { kind: 'scalar', text: '~', style: 'plain', at: at(2, 17) },
            ],
          },
        },
      ],
    })
  })

  test.each(['', '  \n', '# a comment\n'])('%j holds nothing', text => {
    expect(parse(text)).toEqual({ raw: null, faults: [] })
  })

  test.each([
    ['a: &x 1', 'c.yaml:1:7', 'a', 'anchors and aliases are not accepted'],
    ['a: *hunter2', 'c.yaml:1:4', 'a', 'anchors and aliases are not accepted'],
    ['a: [!!str 1]', 'c.yaml:1:11', 'a[0]', 'tags are not accepted'],
    ['? [a]\n: 1', 'c.yaml:1:3', null, 'a key that is not a name'],
    ['a: { b: 1, b: 2 }', 'c.yaml:1:12', 'a.b', 'given twice, first in line 1'],
    ['a: 1\n---\na: 2', 'c.yaml:2:1', null, 'not valid YAML: more than one document'],
    ['a: "\\qhunter2"', 'c.yaml:1:5', null, 'not valid YAML: invalid escape sequence in a quoted text'],
    ['a: b: c', 'c.yaml:1:4', null, 'not valid YAML: Nested mappings are not allowed in compact mappings'],
  ])('%j is refused in words that quote nothing of it', (text, where, setting, problem) => {
    expect(parse(text).faults).toEqual([[where, setting, problem]])
  })

  test('what nests without end, or repeats one error, is refused in a few words', () => {
    const { faults } = parse('['.repeat(20_000))
    expect(faults.length).toBeLessThanOrEqual(10)
    expect(faults).toContainEqual([expect.any(String), null, 'not valid YAML: nested too deeply'])
  })
})
