import Type, { type Static, type TObject, type TSchema } from 'typebox'
import { DeployRequest, FunctionList, FunctionView } from './function.ts'
import { InvocationRecord, InvocationRecordList, InvocationResult } from './invocation.ts'
import { LogLine } from './log.ts'
import { Name } from './names.ts'
import {
  Health,
  InstanceList,
  Namespace,
  NamespaceList,
  NamespaceRequest,
  RegistryCredential,
  RegistryLogin,
  RegistryRights,
  RegistryUser,
  RegistryUserList,
  RegistryUserRequest,
  Status,
  Stopped,
} from './platform.ts'
import { PULL_CREDENTIAL_ID, PullCredentialEntry, PullCredentialList } from './pull-credential.ts'
import {
  RegistryEntry,
  RegistryEntryList,
  RegistryEntryRequest,
  RegistryHost,
  RegistryLoginRequest,
  RegistryStep,
  RegistryTestRequest,
} from './registry-entry.ts'
import { RegistryCollectionRequest, RegistryCollectionStep, RegistryImage, RegistryKey } from './registry-image.ts'

/** What a token may do in a namespace; `admin` is all of it everywhere, `open` asks for no token. */
export type Access = 'open' | 'view' | 'invoke' | 'deploy' | 'admin'

/** What a route answers: a JSON document, one JSON document a line, or bytes that the handler writes itself. */
export type Answer =
  | { kind: 'json'; status: 200 | 201; schema: TSchema }
  | { kind: 'lines'; status: 200; schema: TSchema }
  | { kind: 'raw'; description: string }

/**
 * One route of the API. Types, validation, access, the CLI's client and the documentation all come from here.
 * `path` in OpenAPI form, `/v1/namespaces/{namespace}`.
 */
export interface RouteDescriptor {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  path: string
  summary: string
  access: Access
  params?: TObject
  query?: TObject
  body?: TSchema
  answer: Answer
  /** The gateway serves it on the fast path, fastify never sees it. */
  servedBy?: 'gateway'
}

const json = <S extends TSchema>(schema: S) => ({ kind: 'json', status: 200, schema }) as const
const query = <T extends Record<string, TSchema>>(properties: T) =>
  Type.Object(properties, { additionalProperties: false })

const inNamespace = Type.Object({ namespace: Name })
const ofFunction = Type.Object({ namespace: Name, name: Name })
const ofInstance = Type.Object({ namespace: Name, name: Name, id: Type.String({ pattern: '^[0-9a-f]{16}$' }) })
const ofRegistry = Type.Object({ host: RegistryHost })
const ofUser = Type.Object({ username: Type.String({ maxLength: 63 }) })
const NAMESPACE = '/v1/namespaces/{namespace}'
const FUNCTION = `${NAMESPACE}/functions/{name}`
const REQUEST_ID = Type.String({ pattern: '^[0-9a-f-]{36}$' })
const sinceMs = Type.Optional(Type.Integer({ minimum: 0, description: 'ms since 1970; nothing older' }))
const limit = (maximum: number, standard: number) =>
  Type.Optional(Type.Integer({ minimum: 1, maximum, description: `at most so many; default ${standard}` }))

const Explanation = Type.Object({
  invocation: InvocationRecord,
  number: Type.Object({ number: Type.Integer(), name: Type.String(), meaning: Type.String() }),
  credential: Type.Union([PullCredentialEntry, Type.Null()], {
    description: 'of the download that its start waited for; null when nothing was fetched',
  }),
})

export const ROUTES = {
  health: {
    method: 'GET',
    path: '/healthz',
    summary: 'Whether the server answers',
    access: 'open',
    answer: json(Health),
  },
  status: {
    method: 'GET',
    path: '/v1/status',
    summary: 'Processes, engine and instances',
    access: 'admin',
    answer: json(Status),
  },

  listNamespaces: {
    method: 'GET',
    path: '/v1/namespaces',
    summary: 'All namespaces',
    access: 'admin',
    answer: json(NamespaceList),
  },
  getNamespace: {
    method: 'GET',
    path: NAMESPACE,
    summary: 'One namespace',
    access: 'view',
    params: inNamespace,
    answer: json(Namespace),
  },
  putNamespace: {
    method: 'PUT',
    path: NAMESPACE,
    summary: 'Create a namespace, or change what it allows its functions',
    access: 'admin',
    params: inNamespace,
    body: NamespaceRequest,
    answer: json(Namespace),
  },
  deleteNamespace: {
    method: 'DELETE',
    path: NAMESPACE,
    summary: 'Delete a namespace that has no functions',
    access: 'admin',
    params: inNamespace,
    answer: json(Namespace),
  },

  listFunctions: {
    method: 'GET',
    path: `${NAMESPACE}/functions`,
    summary: 'All functions of a namespace',
    access: 'view',
    params: inNamespace,
    answer: json(FunctionList),
  },
  getFunction: {
    method: 'GET',
    path: FUNCTION,
    summary: 'One function',
    access: 'view',
    params: ofFunction,
    answer: json(FunctionView),
  },
  deploy: {
    method: 'PUT',
    path: FUNCTION,
    summary: 'Create or change a function: its image is pinned by digest, its settings are checked; nothing is run',
    access: 'deploy',
    params: ofFunction,
    body: DeployRequest,
    answer: json(FunctionView),
  },
  deleteFunction: {
    method: 'DELETE',
    path: FUNCTION,
    summary: 'Delete a function and end its instances',
    access: 'deploy',
    params: ofFunction,
    answer: json(FunctionView),
  },

  invoke: {
    method: 'POST',
    path: `${FUNCTION}/invocations`,
    summary: 'Call an event function with the body, a JSON value, as its event',
    access: 'invoke',
    params: ofFunction,
    query: query({
      qualifier: Type.Optional(Type.String({ maxLength: 64, description: 'version or alias, default $LATEST' })),
      tail: Type.Optional(Type.Boolean({ description: 'answer the last 4 KB of output too' })),
      cancel: Type.Optional(Type.Boolean({ description: 'end the call when its caller goes; otherwise it runs on' })),
    }),
    body: Type.Unknown(),
    answer: json(InvocationResult),
    servedBy: 'gateway',
  },
  listInvocations: {
    method: 'GET',
    path: `${FUNCTION}/invocations`,
    summary: 'Records of the calls of a function, newest first',
    access: 'view',
    params: ofFunction,
    query: query({ sinceMs, limit: limit(1000, 100) }),
    answer: json(InvocationRecordList),
  },
  getInvocation: {
    method: 'GET',
    path: '/v1/invocations/{requestId}',
    summary: 'The record of one call',
    access: 'admin',
    params: Type.Object({ requestId: REQUEST_ID }),
    answer: json(InvocationRecord),
  },
  cancelInvocation: {
    method: 'DELETE',
    path: '/v1/invocations/{requestId}',
    summary: 'End a job that waits or runs; answers its record',
    access: 'admin',
    params: Type.Object({ requestId: REQUEST_ID }),
    query: query({
      graceful: Type.Optional(
        Type.Boolean({ description: 'SIGTERM first, ten seconds for it; otherwise it is killed' }),
      ),
    }),
    answer: json(InvocationRecord),
  },
  explainInvocation: {
    method: 'GET',
    path: '/v1/invocations/{requestId}/why',
    summary: 'What one call waited for, with the credential of the download within its start',
    access: 'admin',
    params: Type.Object({ requestId: REQUEST_ID }),
    answer: json(Explanation),
  },
  logs: {
    method: 'GET',
    path: `${FUNCTION}/logs`,
    summary: 'What a function printed, one JSON object a line; with `follow` as it is printed',
    access: 'view',
    params: ofFunction,
    query: query({ sinceMs, requestId: Type.Optional(REQUEST_ID), follow: Type.Optional(Type.Boolean()) }),
    answer: { kind: 'lines', status: 200, schema: LogLine },
  },

  listInstances: {
    method: 'GET',
    path: `${FUNCTION}/instances`,
    summary: 'Instances of a function and why each exists',
    access: 'view',
    params: ofFunction,
    answer: json(InstanceList),
  },
  stopInstances: {
    method: 'DELETE',
    path: `${FUNCTION}/instances`,
    summary: 'End all instances of a function',
    access: 'deploy',
    params: ofFunction,
    answer: json(Stopped),
  },
  stopInstance: {
    method: 'DELETE',
    path: `${FUNCTION}/instances/{id}`,
    summary: 'End one instance',
    access: 'deploy',
    params: ofInstance,
    answer: json(Stopped),
  },

  createRegistryCredential: {
    method: 'POST',
    path: `${NAMESPACE}/registry-credentials`,
    summary: 'A short-lived user name and password to push below NAMESPACE/',
    access: 'deploy',
    params: inNamespace,
    answer: json(RegistryCredential),
  },
  createBaseCredential: {
    method: 'POST',
    path: '/v1/registry/base-credentials',
    summary: 'A short-lived user name and password to publish base images, which builds of every namespace mount from',
    access: 'admin',
    answer: json(RegistryCredential),
  },
  listRegistryUsers: {
    method: 'GET',
    path: '/v1/registry/users',
    summary: 'Users of the local registry and their rights',
    access: 'admin',
    answer: json(RegistryUserList),
  },
  addRegistryUser: {
    method: 'POST',
    path: '/v1/registry/users',
    summary: 'Add a user of the local registry; the password is shown once',
    access: 'admin',
    body: RegistryUserRequest,
    answer: json(RegistryLogin),
  },
  setRegistryUserRights: {
    method: 'PUT',
    path: '/v1/registry/users/{username}',
    summary: 'Replace the rights of a user of the local registry',
    access: 'admin',
    params: ofUser,
    body: RegistryRights,
    answer: json(RegistryUser),
  },
  revokeRegistryUser: {
    method: 'DELETE',
    path: '/v1/registry/users/{username}',
    summary: 'Remove a user of the local registry',
    access: 'admin',
    params: ofUser,
    answer: json(Type.Object({ username: Type.String() })),
  },
  listPullCredentials: {
    method: 'GET',
    path: '/v1/registry/pull-credentials',
    summary: 'The credentials that downloads were made with, newest first, and who waited for each',
    access: 'admin',
    query: query({ sinceMs, namespace: Type.Optional(Name), limit: limit(1000, 100) }),
    answer: json(PullCredentialList),
  },
  endPullCredential: {
    method: 'DELETE',
    path: '/v1/registry/pull-credentials/{id}',
    summary: 'End a credential that is in force, and its download',
    access: 'admin',
    params: Type.Object({ id: Type.String({ pattern: PULL_CREDENTIAL_ID }) }),
    answer: json(Type.Object({ id: Type.String() })),
  },
  listRegistries: {
    method: 'GET',
    path: '/v1/registries',
    summary: 'What is known of foreign registries, without secrets',
    access: 'admin',
    answer: json(RegistryEntryList),
  },
  putRegistry: {
    method: 'PUT',
    path: '/v1/registries/{host}',
    summary: 'Say where credentials for a registry come from, and what its clients may do beyond the rules',
    access: 'admin',
    params: ofRegistry,
    body: RegistryEntryRequest,
    answer: json(RegistryEntry),
  },
  removeRegistry: {
    method: 'DELETE',
    path: '/v1/registries/{host}',
    summary: 'Forget a registry with its login',
    access: 'admin',
    params: ofRegistry,
    answer: json(RegistryEntry),
  },
  loginRegistry: {
    method: 'POST',
    path: '/v1/registries/{host}/login',
    summary: 'Try a user name and password at a registry and keep them encrypted if it takes them; one step a line',
    access: 'admin',
    params: ofRegistry,
    body: RegistryLoginRequest,
    answer: { kind: 'lines', status: 200, schema: RegistryStep },
  },
  logoutRegistry: {
    method: 'DELETE',
    path: '/v1/registries/{host}/login',
    summary: 'Forget the login of a registry; what its entry allows stays',
    access: 'admin',
    params: ofRegistry,
    answer: json(RegistryEntry),
  },
  testRegistry: {
    method: 'POST',
    path: '/v1/registries/test',
    summary: 'Access an image as a pull would, one step a line: what was asked, what was answered, what is missing',
    access: 'admin',
    body: RegistryTestRequest,
    answer: { kind: 'lines', status: 200, schema: RegistryStep },
  },
  listRegistryImages: {
    method: 'GET',
    path: '/v1/registry/images',
    summary: 'Images of the local registry with tags, sizes and the functions that use them',
    access: 'admin',
    query: query({
      repository: Type.Optional(Type.String({ maxLength: 255, description: 'one repository, or those below PREFIX/' })),
    }),
    answer: { kind: 'lines', status: 200, schema: RegistryImage },
  },
  collectRegistry: {
    method: 'POST',
    path: '/v1/registry/collections',
    summary: 'Remove what nobody needs from the local registry; tells each step, and goes on when nobody listens',
    access: 'admin',
    body: RegistryCollectionRequest,
    answer: { kind: 'lines', status: 200, schema: RegistryCollectionStep },
  },
  rotateRegistryKeys: {
    method: 'POST',
    path: '/v1/registry/signing-keys',
    summary: 'Sign tokens of the local registry with a new key from now on',
    access: 'admin',
    answer: json(RegistryKey),
  },
  registryToken: {
    method: 'GET',
    path: '/registry/token',
    summary: 'The token server that the local registry sends its clients to',
    access: 'open',
    answer: {
      kind: 'raw',
      description: 'as the distribution token specification says; the user’s own password is the access',
    },
    servedBy: 'gateway',
  },
  registryTokenPost: {
    method: 'POST',
    path: '/registry/token',
    summary: 'The same by the OAuth 2 form (password, refresh token)',
    access: 'open',
    answer: { kind: 'raw', description: 'as the distribution OAuth 2 specification says' },
    servedBy: 'gateway',
  },
} as const satisfies Record<string, RouteDescriptor>

export type Routes = typeof ROUTES
export type RouteName = keyof Routes

type PartOf<R, P extends string> = R extends { [K in P]: infer S extends TSchema } ? Static<S> : undefined
export type ParamsOf<N extends RouteName> = PartOf<Routes[N], 'params'>
export type QueryOf<N extends RouteName> = PartOf<Routes[N], 'query'>
export type BodyOf<N extends RouteName> = PartOf<Routes[N], 'body'>
/** What a handler of the route gives: the document, or the documents one by one; a raw route gives nothing. */
export type AnswerOf<N extends RouteName> = Routes[N]['answer'] extends {
  kind: 'json'
  schema: infer S extends TSchema
}
  ? Static<S>
  : Routes[N]['answer'] extends { kind: 'lines'; schema: infer S extends TSchema }
    ? AsyncIterable<Static<S>>
    : void

/** The path of a route with its parameters filled in, percent-encoded. */
export function pathOf(name: RouteName, params: Readonly<Record<string, string>> = {}): string {
  return ROUTES[name].path.replace(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(params[key] ?? ''))
}
