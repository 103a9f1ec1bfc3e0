import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dataPaths } from '../../common/index.ts'

/** Processes, mounts and control groups on this machine that belong to a data directory. */
export function leftoversOf(dataDirectory: string): string[] {
  return [...mounts(dataDirectory), ...processes(dataDirectory), ...controlGroups(dataDirectory)]
}

function mounts(dataDirectory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`${dataDirectory}/`))
    .map((line) => `mount ${line}`)
}

function processes(dataDirectory: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const command = `${readProc(pid, 'cmdline')} ${environment(pid)}`
      return command.includes(dataDirectory) ? [`process ${pid} ${command.slice(0, 300)}`] : []
    })
}

/** The supervisor and the server are told their data directory by their environment. */
function environment(pid: string): string {
  return readProc(pid, 'environ')
    .split(' ')
    .filter((entry) => entry.startsWith('SLIPWAY_'))
    .join(' ')
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

function controlGroups(dataDirectory: string): string[] {
  const name = `slipway-${dataPaths(dataDirectory).hash}`
  const roots = ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((entry) => `/sys/fs/cgroup/${entry}`)]
  return roots.map((root) => `${root}/${name}`).filter((path) => existsSync(path))
}
