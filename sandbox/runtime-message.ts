/** What the OCI runtime itself said, out of the log line in which it, or conmon, passes it on. */
export function runtimeMessage(text: string): string {
  const quoted = /msg="((?:[^"\\]|\\.)*)"/.exec(text)?.[1]
  return (quoted === undefined ? text : quoted.replace(/\\(.)/g, '$1')).trim()
}
