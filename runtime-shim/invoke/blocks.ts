const BLOCK_BYTES = 64 * 1024
/** 4 MB: of streams that go on at the same moment; what is more is made for the occasion. */
const MAX_FREE = 64

const free: Buffer[] = []

/**
 * A copy of `piece` in memory that is used again: `give` it back when it has been written. For streams, the collection of one new block for
 * each piece was a third of their cost.
 */
export function takeBlock(piece: Buffer): { bytes: Buffer; give: () => void } {
  if (piece.length > BLOCK_BYTES) return { bytes: Buffer.from(piece), give: () => undefined }
  const block = free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES)
  piece.copy(block)
  const give = (): void => {
    if (free.length < MAX_FREE) free.push(block)
  }
  return { bytes: block.subarray(0, piece.length), give }
}
