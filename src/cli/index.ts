import { EXIT } from './exit-status.ts'
import { run } from './main.ts'

// Whoever reads may stop reading (`legwork replay … | head -1`): the work goes on, and what is left to say is dropped.
// Anything else that keeps words from arriving, such as a full disk, is a failure; without listeners both end in a stack.
let isUnsaid = false
process.stderr.on('error', () => {})
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return
  isUnsaid = true
  process.exitCode = EXIT.failed
  process.stderr.write(`legwork: the result could not be written: ${error.message}\n`)
})

const status = await run(process.argv.slice(2))
process.exitCode = isUnsaid && status === EXIT.done ? EXIT.failed : status
