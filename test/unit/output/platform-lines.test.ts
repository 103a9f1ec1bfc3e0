import { describe, expect, it } from 'vitest'
import type { InvocationRecord } from '../../../api/index.ts'
import { endLines, initReportLine, startLine } from '../../../runtime-shim/output/platform-lines.ts'
import { toScfRecord } from '../../../runtime-shim/output/scf-record.ts'

const record: InvocationRecord = {
  requestId: 'r-1',
  callerRequestId: null,
  namespace: 'default',
  function: 'hello',
  version: '$LATEST',
  kind: 'event',
  instance: 'aaaaaaaaaaaaaaaa',
  startedAtMs: 1_795_260_899_373,
  durationMs: 820.6,
  statusCode: 200,
  errorMessage: null,
  memoryBytes: 22_442_111,
  memoryLimitMb: 3072,
  coldStart: null,
}

describe('the platform lines of a call', () => {
  it('are START, END and Report for a call that went well', () => {
    expect([startLine('r-1'), initReportLine(record), ...endLines(record)]).toEqual([
      'START RequestId:r-1',
      undefined,
      'END RequestId:r-1',
      'Report RequestId:r-1 Duration:821ms Memory:3072MB MemUsage:21.402465MB',
    ])
  })

  it('tell of a failure by ERROR and Response before END', () => {
    expect(
      endLines({ ...record, statusCode: 433, errorMessage: 'Invoking task timed out after 3 seconds' }).slice(0, 3),
    ).toEqual([
      'ERROR RequestId:r-1 Result:433',
      'Response RequestId:r-1 RetMsg:{"errorCode":-1,"errorMessage":"Invoking task timed out after 3 seconds","requestId":"r-1","statusCode":433}',
      'END RequestId:r-1',
    ])
  })

  it('take a redirect of a web function for no failure', () => {
    expect(endLines({ ...record, kind: 'web', statusCode: 302 })).toHaveLength(2)
    expect(endLines({ ...record, kind: 'web', statusCode: 502 })[0]).toBe('ERROR RequestId:r-1 Result:502')
  })

  it('report a cold start by its phases, with PullCode only when something was pulled', () => {
    const phases = { queue: 1, credential: 2, create: 60, start: 10, listen: 40 }
    const local = { ...record, coldStart: { totalMs: 113, phases } }
    expect(initReportLine(local)).toBe(
      'Init Report RequestId: r-1 Coldstart: 113ms (InitRuntime: 73ms InitFunction: 40ms) Memory: 3072MB MemUsage: 21.402465MB',
    )
    const pulled = { ...record, coldStart: { totalMs: 713, phases: { ...phases, pull: 600, unpack: 100 } } }
    expect(initReportLine(pulled)).toContain('(PullCode: 602ms InitRuntime: 71ms InitFunction: 40ms)')
  })

  it('can be given with the names of the cloud service', () => {
    const line = {
      namespace: 'default',
      function: 'hello',
      timeUs: 1_795_260_899_400_123,
      requestId: 'r-1',
      message: 'hi',
      isPlatform: false,
    }
    expect(toScfRecord({ ...line, record })).toEqual({
      SCF_FunctionName: 'hello',
      SCF_Namespace: 'default',
      SCF_StartTime: 1_795_260_899_373,
      SCF_LogTime: 1_795_260_899_400,
      SCF_RequestId: 'r-1',
      SCF_Duration: 821,
      SCF_Alias: '',
      SCF_Qualifier: '$LATEST',
      SCF_MemUsage: 21.402465,
      SCF_Level: 'INFO',
      SCF_Message: 'hi',
      SCF_Type: 'Custom',
      SCF_StatusCode: 200,
      SCF_RetryNum: 0,
    })
    expect(toScfRecord({ ...line, record: undefined })).toMatchObject({ SCF_StatusCode: 202, SCF_Duration: 0 })
    expect(toScfRecord({ ...line, isPlatform: true, message: 'ERROR RequestId:r-1 Result:433', record })).toMatchObject(
      {
        SCF_Type: 'Platform',
        SCF_Level: 'ERROR',
      },
    )
  })
})
