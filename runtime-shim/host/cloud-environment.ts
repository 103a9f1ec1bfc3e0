/**
 * What a cloud's SDK finds keys, roles and endpoints by (AWS SDKs and Tools Reference Guide, environment variables). It goes from `slipway up` to
 * the server, which alone talks to clouds, and to the credential helpers of the platform's docker configuration.
 */
export function cloudEnvironment(): Record<string, string> {
  const own = Object.entries(process.env).filter(([name]) => name.startsWith('AWS_'))
  return Object.fromEntries(own.map(([name, value]) => [name, value ?? '']))
}
