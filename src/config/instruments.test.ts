import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError, type ConfigFault, loadConfig } from '../config.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'legwork-config-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function load(yaml: string) {
  writeFileSync(join(folder, 'config.yaml'), yaml)
  return loadConfig({ path: null, env: {}, flags: {}, cwd: folder })
}

function faultsOf(yaml: string): readonly ConfigFault[] {
  try {
    load(yaml)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
  return []
}

describe('assets and markets', () => {
  const ASSETS = 'assets: [{ code: BTC, scale: 8 }, { code: USDT, scale: 8 }]\n'
  const market = (fields: string) => `${ASSETS}markets:\n  - { symbol: BTC/USDT, ${fields} }\n`

  test('amounts are read from the very digits, quoted or not, and are canonical', () => {
    const yaml = market('tick_size: 0.010, lot_size: "1.0", min_notional: 0.10000001, maker_fee: -0.0, taker_fee: 0.1')
    expect(load(yaml).config.markets).toMatchObject([
      { tickSize: '0.01', lotSize: '1', minNotional: '0.10000001', makerFee: '0', takerFee: '0.1', rounding: null },
    ])
  })

  test('one whose places exceed the scale of its quote asset is refused with the numbers', () => {
    const [fault, ...others] = faultsOf(market('tick_size: "0.0001", lot_size: "0.00001"'))
    expect(others).toEqual([])
    expect(fault).toMatchObject({ setting: 'markets[0]', where: 'config.yaml:3:15' })
    expect(fault?.problem).toContain(
      'price places 4 (tick_size 0.0001) + quantity places 5 (lot_size 0.00001) = 9, more than the 8 places of USDT',
    )
  })

  test.each(['half_even', 'half_up', 'down'])('one that names the rounding %s may exceed it', rounding => {
    const yaml = market(`tick_size: "0.0001", lot_size: "0.00001", rounding: ${rounding}`)
    expect(load(yaml).config.markets).toMatchObject([{ rounding }])
  })

  test('one whose places reach the scale exactly is taken', () => {
    expect(load(market('tick_size: "0.001", lot_size: "0.00001"')).config.markets).toHaveLength(1)
  })

  test('the defaults are held against the assets that are configured', () => {
    const yaml = 'assets: [{ code: BTC, scale: 8 }, { code: USDT, scale: 6 }]'
    expect(faultsOf(yaml)).toMatchObject([{ setting: 'markets[0]', where: 'default' }])
  })

  test.each([
    ['tick_size: 0, lot_size: 1', 'tick_size', '0'],
    ['tick_size: -1, lot_size: 1', 'tick_size', '-1'],
    ['tick_size: 1e-2, lot_size: 1', 'tick_size', '1e-2'],
    ['tick_size: 1, lot_size: "1,5"', 'lot_size', '"1,5"'],
    ['tick_size: 1, lot_size: 1, min_notional: -1', 'min_notional', '-1'],
    ['tick_size: 1, lot_size: 1, min_notional: 0.000000001', 'min_notional', '"0.000000001"'],
    ['tick_size: 1, lot_size: 1, maker_fee: 1', 'maker_fee', '1'],
    ['tick_size: 1, lot_size: 1, taker_fee: -1.0', 'taker_fee', '-1.0'],
    ['tick_size: 1, lot_size: 1, rounding: up', 'rounding', '"up"'],
    ['lot_size: 1', 'tick_size', null],
  ])('{ %s } is refused for its %s', (fields, name, value) => {
    expect(faultsOf(market(fields))).toMatchObject([{ setting: `markets[0].${name}`, value }])
  })

  test.each([
    ['btc/USDT', 'not allowed'],
    ['BTC/BTC', 'not allowed'],
    ['BTC-USDT', 'not allowed'],
    ['BTC/EUR', 'EUR not among the assets'],
    ['ETH/EUR', 'ETH and EUR not among the assets'],
  ])('the symbol %s is refused', (symbol, problem) => {
    const yaml = `${ASSETS}markets: [{ symbol: ${symbol}, tick_size: 1, lot_size: 1 }]`
    expect(faultsOf(yaml)).toMatchObject([
      { setting: 'markets[0].symbol', value: `"${symbol}"`, problem, where: 'config.yaml:2:21' },
    ])
  })

  test('a symbol or an asset twice is refused at its second place', () => {
    const one = '{ symbol: BTC/USDT, tick_size: 1, lot_size: 1 }'
    const yaml = `assets: [{ code: BTC, scale: 8 }, { code: USDT, scale: 8 }, { code: BTC, scale: 2 }]\nmarkets: [${one}, ${one}]`
    expect(faultsOf(yaml)).toMatchObject([
      { setting: 'assets[2].code', value: '"BTC"', problem: 'the same as assets[0]', where: 'config.yaml:1:69' },
      {
        setting: 'markets[1].symbol',
        value: '"BTC/USDT"',
        problem: 'the same as markets[0]',
        where: 'config.yaml:2:70',
      },
    ])
  })

  test('every item of a list is checked, and a market is not blamed for an asset at fault', () => {
    const yaml =
      'assets: [{ code: btc, scale: 8 }, { code: USDT, scale: 19 }]\nmarkets: [{ symbol: BTC/USDT, tick_size: 1, lot_size: 1 }]'
    expect(faultsOf(yaml).map(({ setting }) => setting)).toEqual(['assets[0].code', 'assets[1].scale'])
  })

  test('a field that is not known is told with its place and the nearest known name', () => {
    const problem = 'not a known setting; the nearest known name is assets[0].scale'
    expect(faultsOf('assets:\n- code: A\n  scale: 1\n  scle: 2')).toMatchObject([
      { setting: 'assets[0].scle', problem, where: 'config.yaml:4:3' },
    ])
  })

  test('more than a thousand assets are refused', () => {
    const items = (count: number) => Array.from({ length: count }, (_, index) => ({ code: `A${index}`, scale: 0 }))
    const given = (count: number) => JSON.stringify({ assets: items(count), markets: [] })
    expect(load(given(1000)).config.assets).toHaveLength(1000)
    expect(faultsOf(given(1001))).toMatchObject([{ setting: 'assets', problem: 'too many', value: '1001 items' }])
  })
})
