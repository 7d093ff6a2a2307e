import { progress } from '@clack/prompts'

/** A progress bar on standard error; nothing where that is no terminal. */
export interface ProgressBar {
  show(done: number, total: number): void
  stop(message: string): void
}

const STEPS = 100

export function createProgressBar(message: string): ProgressBar {
  if (!process.stderr.isTTY) return { show: () => {}, stop: () => {} }
  const bar = progress({ max: STEPS, output: process.stderr })
  let shown = 0
  bar.start(message)
  return {
    show(done, total) {
      const step = total === 0 ? STEPS : Math.min(Math.floor((done * STEPS) / total), STEPS)
      if (step <= shown) return
      bar.advance(step - shown, `${message}: ${done.toLocaleString('en')} of ${total.toLocaleString('en')}`)
      shown = step
    },
    stop: last => bar.stop(last),
  }
}
