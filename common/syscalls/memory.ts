import { failed, libc, memoryAt } from './libc.ts'

// files as memory: mmap(2)

const mmap = libc.func('void *mmap(void *, size_t, int, int, int, long)')

const PROT_READ_WRITE = 3
const MAP_SHARED = 1

/**
 * The first `length` bytes of a file that is open for reading and writing, as memory of this process until it ends: what is stored there
 * is in the file at once, for every reader, and stays when this process is killed. The file must have all those bytes on disk already:
 * touching what has no room there ends the process (SIGBUS).
 */
export function mapShared(fd: number, length: number): Buffer {
  const memory = memoryAt(mmap(null, length, PROT_READ_WRITE, MAP_SHARED, fd, 0), length)
  if (memory === undefined) throw failed('mmap', `fd ${fd}`)
  return memory
}
