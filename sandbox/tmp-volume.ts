import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import {
  AppError,
  configureLoopDevice,
  dataRanges,
  freeLoopDevice,
  identify,
  MS,
  mount,
  run,
  SingleFlight,
  unmount,
} from '../common/index.ts'

/** What of an empty file system is not zero: a few blocks out of hundreds of megabytes. */
interface Template {
  sizeBytes: number
  parts: { offset: number; data: Buffer }[]
}

const MOUNT_FLAGS = MS.NOSUID | MS.NODEV
const LOOP_ATTEMPTS = 20

/**
 * Volumes for `/tmp`: a sparse file with an ext4 file system in it, so that what a function writes there counts as files and not as its memory,
 * and ends in ENOSPC at the volume's size. mkfs runs once for each size; a volume is made by writing the few blocks that are not zero.
 */
export class TmpVolumes {
  readonly #directory: string
  readonly #templates = new Map<number, Template>()
  readonly #making = new SingleFlight<Template>()

  /** `directory` keeps the templates between runs. */
  constructor(directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    this.#directory = directory
    for (const name of readdirSync(directory)) discardHalfMade(join(directory, name))
  }

  /** Makes the image file `image` of `sizeBytes` and mounts it at `target` (nosuid, nodev, mode 1777, empty). */
  async make(image: string, target: string, sizeBytes: number): Promise<void> {
    const template =
      this.#templates.get(sizeBytes) ?? (await this.#making.run(String(sizeBytes), () => this.#load(sizeBytes)))
    const file = openSync(image, 'wx+', 0o600)
    try {
      ftruncateSync(file, template.sizeBytes)
      for (const { offset, data } of template.parts) writeSync(file, data, 0, data.length, offset)
      mkdirSync(target, { mode: 0o700 })
      mountLoop(file, target)
    } finally {
      closeSync(file)
    }
  }

  /** Unmounts and deletes. The loop device frees itself with the last user of the mount. Idempotent. */
  remove(image: string, target: string): void {
    while (unmount(target)) continue
    rmSync(target, { recursive: true, force: true })
    rmSync(image, { force: true })
  }

  async #load(sizeBytes: number): Promise<Template> {
    const path = join(this.#directory, `tmp-${sizeBytes}.ext4`)
    if (!existsSync(path)) await makeTemplate(path, sizeBytes)
    const template = { sizeBytes, parts: readParts(path) }
    this.#templates.set(sizeBytes, template)
    return template
  }
}

/** Removes what a process that was killed in `makeTemplate` left. */
function discardHalfMade(path: string): void {
  const pid = /\.(\d+)\.making(?:\.mount)?$/.exec(path)?.[1]
  if (pid === undefined || identify(Number(pid)) !== undefined) return
  while (unmount(path)) continue
  rmSync(path, { recursive: true, force: true })
}

/** Without a journal: nobody needs the volume after a crash, and each mount saves a kernel thread. */
async function makeTemplate(path: string, sizeBytes: number): Promise<void> {
  const making = `${path}.${process.pid}.making`
  const target = `${making}.mount`
  const file = openSync(making, 'w+', 0o600)
  try {
    ftruncateSync(file, sizeBytes)
    const features = '^has_journal,^resize_inode'
    await run('mkfs.ext4', ['-q', '-F', '-m', '0', '-O', features, '-E', 'lazy_itable_init=1,nodiscard', making])
    mkdirSync(target, { mode: 0o700 })
    mountLoop(file, target)
    try {
      rmSync(join(target, 'lost+found'), { recursive: true })
      chmodSync(target, 0o1777)
    } finally {
      unmount(target)
    }
    await run('sync', ['-f', making])
    renameSync(making, path)
  } finally {
    closeSync(file)
    rmSync(target, { recursive: true, force: true })
    rmSync(making, { force: true })
  }
}

function readParts(path: string): Template['parts'] {
  const file = openSync(path, 'r')
  try {
    return dataRanges(file).map(({ offset, length }) => {
      const data = Buffer.alloc(length)
      readSync(file, data, 0, length, offset)
      return { offset, data }
    })
  } finally {
    closeSync(file)
  }
}

function mountLoop(file: number, target: string): void {
  const control = openSync('/dev/loop-control', 'r+')
  try {
    for (let attempt = 0; attempt < LOOP_ATTEMPTS; attempt += 1) {
      const path = `/dev/loop${freeLoopDevice(control)}`
      const device = openSync(path, 'r+')
      try {
        if (!configureLoopDevice(device, file)) continue
        mount(path, target, 'ext4', MOUNT_FLAGS, 'noinit_itable')
        return
      } finally {
        closeSync(device)
      }
    }
  } finally {
    closeSync(control)
  }
  throw new AppError(`no loop device for ${target}: every free one was taken by others`, {
    code: 'loop-device-missing',
    retryable: true,
  })
}
