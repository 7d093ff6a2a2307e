import { describe, expect, test } from 'vitest'
import { findColumns } from './columns.ts'

describe('findColumns', () => {
  test('takes names in any order and case, with spaces and quotes', () => {
    expect(findColumns(' QTY ,"Price", note,Buyer_Is_Maker,PAIR,trade_id,Timestamp\r', 'auto')).toEqual({
      delimiter: ',',
      hasHeader: true,
      least: 7,
      most: 7,
      price: 1,
      quantity: 0,
      isBuyerMaker: 3,
      isTakerSide: false,
      symbol: 4,
      id: 5,
      time: 6,
    })
  })

  test.each(['quantity', 'qty', 'amount', 'size'])('takes %s as the quantity', name => {
    expect(findColumns(`id,${name},price`, 'legwork')).toMatchObject({ quantity: 1, price: 2 })
  })

  test('prefers the plainer of two names, and the time of the trade', () => {
    expect(
      findColumns('amount,quantity,price,event_ts_ms,trade_ts_ms,trade_id,id,side,is_buyer_maker', 'auto'),
    ).toMatchObject({ quantity: 1, time: 4, id: 6, isBuyerMaker: 8, isTakerSide: false })
    expect(findColumns('price,size,event_ts_ms', 'auto')).toMatchObject({ time: 2 })
  })

  test.each(['side', 'taker_side'])("takes %s as the taker's side", name => {
    expect(findColumns(`price,qty,${name}`, 'auto')).toMatchObject({ isBuyerMaker: 2, isTakerSide: true })
  })

  test('takes the delimiter that the header uses', () => {
    expect(findColumns('price;qty;side', 'auto')).toMatchObject({ delimiter: ';', quantity: 1 })
    expect(findColumns('price\tqty\tside', 'auto')).toMatchObject({ delimiter: '\t', quantity: 1 })
  })

  test('does not count empty columns at the end', () => {
    expect(findColumns('price,qty,,', 'auto')).toMatchObject({ least: 2, most: 2 })
  })

  test('knows the dump of the exchange by its first row', () => {
    const dump = {
      hasHeader: false,
      id: 0,
      price: 1,
      quantity: 2,
      time: 4,
      isBuyerMaker: 5,
      symbol: -1,
      least: 6,
      most: 7,
    }
    expect(findColumns('1,2.5,3,7.5,1680652799999,True,True', 'auto')).toMatchObject({ ...dump, delimiter: ',' })
    expect(findColumns('1;2.5;3;7.5;1680652799999;True', 'auto')).toMatchObject({ ...dump, delimiter: ';' })
    expect(findColumns('1,abc', 'auto')).toMatchObject(dump)
    expect(findColumns('damaged', 'binance')).toMatchObject(dump)
  })

  test('takes a dump that has a header', () => {
    expect(findColumns('id,price,qty,quote_qty,time,is_buyer_maker', 'binance')).toMatchObject({
      hasHeader: true,
      isBuyerMaker: 5,
    })
  })

  test.each([
    ['price,side', 'auto', 'has a header without a column quantity'],
    ['qty,side', 'binance', 'has a header without a column price'],
    ['id,side', 'legwork', 'has a header without a column price, nor quantity'],
    ['foo,bar', 'auto', 'has no header with the columns price and quantity'],
    ['1,2.5,3,7.5,1680652799999,True', 'legwork', 'has no header with the columns price and quantity'],
    ['fo"o,bar', 'auto', 'has no header with the columns price and quantity'],
  ] as const)('says what %j lacks (%s)', (line, format, fault) => {
    expect(findColumns(line, format)).toBe(fault)
  })
})
