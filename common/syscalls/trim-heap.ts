import { libc } from './libc.ts'

/**
 * malloc_trim(3): gives freed memory back to the system, also from the middle of the heap, which glibc does by itself only at its end. Measured
 * after a pull of 65 MB: 81 of 121 MB. Without it (another C library) nothing happens.
 */
export function trimHeap(): void {
  try {
    libc.func('int malloc_trim(size_t)')(0)
  } catch {
    // Not glibc.
  }
}
