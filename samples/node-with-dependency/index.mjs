// An event function with a dependency: node_modules is made by the build, from package-lock.json.
import semver from 'semver'

export async function main_handler({ versions = [], range = '*' }) {
  const fitting = versions.filter((version) => semver.satisfies(version, range))
  console.log(`${fitting.length} of ${versions.length} versions fit ${range}`)
  return { newest: semver.maxSatisfying(versions, range), sorted: semver.sort([...versions]) }
}
