/**
 * The documented numbers that a call can end with (facts: scf-contract 1.9) and the HTTP status each is answered with (DESIGN.md).
 * `http` null: nothing can be answered any more, the connection is closed (or the number appears in records only).
 * 402, 404 and 410 belong to billing and subnets of a cloud account and cannot occur here.
 */
export interface DocumentedNumber {
  name: string
  http: number | null
  meaning: string
}

export const NUMBERS = {
  200: { name: 'Success', http: 200, meaning: 'The function answered.' },
  202: { name: 'Running', http: null, meaning: 'In records only: the call has not ended yet.' },
  400: { name: 'InvalidParameterValue', http: 400, meaning: 'The event is not JSON, or a parameter is wrong.' },
  401: { name: 'InvalidCredentials', http: 401, meaning: 'The call carries no valid token.' },
  403: { name: 'InvalidResponseFormat', http: 502, meaning: 'An integrated response has not the required shape.' },
  405: { name: 'ContainerStateExited', http: 503, meaning: 'The container exited while starting.' },
  406: { name: 'RequestTooLarge', http: 413, meaning: 'The event is over its limit (6 MB).' },
  407: { name: 'ResponseTooLarge', http: 502, meaning: 'The size of the response exceeds the upper limit (6 MB).' },
  429: { name: 'ResourceLimit', http: 429, meaning: 'More instances were asked for at once than may be started.' },
  430: {
    name: 'UserCodeException',
    http: 502,
    meaning: 'The function failed: uncaught exception, or an error status.',
  },
  432: { name: 'ResourceLimitReached', http: 429, meaning: 'The concurrency quota is reached.' },
  433: { name: 'TimeLimitReached', http: 504, meaning: 'The execution timeout is over; the work was stopped.' },
  434: { name: 'MemoryLimitReached', http: 502, meaning: 'Out of memory; the instance is recycled.' },
  435: { name: 'FunctionNotFound', http: 404, meaning: 'There is no such function.' },
  436: { name: 'InvalidParameterValue', http: 400, meaning: 'A parameter of the call is not valid for this function.' },
  437: { name: 'HandlerNotFound', http: 503, meaning: 'The handler does not exist in the code.' },
  438: { name: 'FunctionStatusError', http: 409, meaning: 'The function is not in a state that can be called.' },
  439: { name: 'UserProcessExit', http: 502, meaning: "The function's process ended while it ran." },
  441: { name: 'UnauthorizedOperation', http: 403, meaning: 'The token does not give this right.' },
  442: { name: 'QualifierNotFound', http: 404, meaning: 'There is no such version or alias.' },
  443: { name: 'UserCodeError', http: 503, meaning: 'The code cannot be loaded.' },
  444: { name: 'PullImageFailed', http: 503, meaning: 'The image could not be pulled.' },
  445: { name: 'ContainerInitError', http: 503, meaning: 'The container could not be started: bad command or args.' },
  446: { name: 'PortBindingFailed', http: 504, meaning: 'Nothing listened on port 9000 in time.' },
  447: { name: 'PullImageTimeOut', http: 504, meaning: 'The pull did not end within the init timeout.' },
  449: { name: 'InsufficientResources', http: 503, meaning: 'The platform is short of capacity.' },
  450: { name: 'InitContainerTimeout', http: 504, meaning: 'The container did not start within the init timeout.' },
  455: { name: 'WebSocketIdleTimeout', http: null, meaning: 'In records only: a WebSocket was idle for too long.' },
  456: {
    name: 'WebSocketClientClosed',
    http: null,
    meaning: 'In records only: the client closed a WebSocket abnormally.',
  },
  499: { name: 'RequestCanceled', http: null, meaning: 'The caller has gone, or the call was ended by request.' },
  500: { name: 'InternalError', http: 500, meaning: 'A failure of the platform.' },
} as const satisfies Record<number, DocumentedNumber>

export type CallNumber = keyof typeof NUMBERS

/** The entry of a number; undefined for one that is not documented. */
export function documentedNumber(number: number): DocumentedNumber | undefined {
  return (NUMBERS as Record<number, DocumentedNumber>)[number]
}

/** The HTTP status for a call's number; null when the connection is closed instead. A number that is not documented is a 500. */
export function httpStatusOf(number: number): number | null {
  const entry = documentedNumber(number)
  return entry === undefined ? 500 : entry.http
}
