import type { Fault } from '../api/contract.ts'
import type { FaultControl } from '../api/wallet/faults/routes.ts'
import type { Clock } from '../clock.ts'
import { ConfigError } from '../config.ts'
import { createFaultBook, type FaultBook } from '../wallet/faults/fault-book.ts'
import { type FaultScriptFile, readFaultRules } from './fault-rules.ts'

/** The script in force: that of `--faults` (null: none), until another one is put over HTTP. */
export function createFaultControl(file: FaultScriptFile | null, clock: Clock): FaultControl {
  let script: FaultScriptFile = file ?? { rules: [], source: [] }
  const open = (): FaultBook | null => (script.rules.length === 0 ? null : createFaultBook(script.rules, clock.now()))
  let book = open()
  return {
    book: () => book,
    source: () => script.source,
    replace: source => {
      try {
        const name = 'the body'
        script = { rules: readFaultRules(JSON.stringify({ rules: source }), { source: 'file', name }), source }
      } catch (error) {
        if (error instanceof ConfigError) return error.faults.map(pointerTo)
        throw error
      }
      book = open()
      return []
    },
  }
}

/** `faults.rules[0].attempt` as a pointer into the body. */
function pointerTo({ setting, problem, value, allowed }: ConfigError['faults'][number]): Fault {
  const path = (setting ?? '').replace(/^faults/, '').replaceAll(/\[([0-9]+)\]/g, '.$1')
  const got = value === null ? '' : ` (got ${value})`
  const wanted = allowed === null ? '' : `; allowed: ${allowed}`
  return { pointer: path.replaceAll('.', '/'), detail: `${problem}${got}${wanted}` }
}
