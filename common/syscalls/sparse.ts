import { libc } from './libc.ts'

// sparse files: lseek(2) SEEK_DATA, SEEK_HOLE

const lseek = libc.func('int64_t lseek(int, int64_t, int)')
const SEEK_DATA = 3
const SEEK_HOLE = 4

/** The ranges of a sparse file that hold data, in order. */
export function dataRanges(fd: number): { offset: number; length: number }[] {
  const ranges: { offset: number; length: number }[] = []
  for (let at = 0; ; ) {
    const offset = Number(lseek(fd, at, SEEK_DATA))
    if (offset < 0) return ranges // ENXIO: no data any more
    at = Number(lseek(fd, offset, SEEK_HOLE))
    if (at <= offset) return ranges
    ranges.push({ offset, length: at - offset })
  }
}
