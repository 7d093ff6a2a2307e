/** The workshop of a test file whose processes take their time. */
import { afterAll, vi } from 'vitest'
import { openWorkshop, type Workshop } from './process.ts'

/** Opens it for all tests of the file that calls this, and closes it after them. */
export async function workshopOfFile(): Promise<Workshop> {
  // Beside all other tests each takes some times what it takes alone.
  vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 })
  const shop = await openWorkshop()
  afterAll(() => shop.close())
  return shop
}
