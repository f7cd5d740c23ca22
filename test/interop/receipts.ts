// What an operator's journal says that a merchant has earned, asked for as the merchant does.

import type { MerchantDouble } from './merchants.ts'

/** The sum of all pages, after the commission. */
export async function earned(merchant: MerchantDouble): Promise<bigint> {
  let sum = 0n
  for (let before: number | undefined; ; ) {
    const more = before === undefined ? {} : { before }
    const answer = await merchant.post('receipts', { ...merchant.query(), ...more })
    if (answer.status !== 200) throw new Error(`receipts: ${answer.status} ${answer.body}`)
    const page = JSON.parse(String(answer.body)) as {
      receipts: { net: string }[]
      next: number | null
    }
    for (const { net } of page.receipts) sum += BigInt(net)
    if (page.next === null) return sum
    before = page.next
  }
}
