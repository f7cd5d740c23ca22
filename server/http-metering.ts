// The routes by which a device enrols its metering key: POST /v1/metering-keys/challenge and POST
// /v1/metering-keys. Owns their limits and status codes; what they mean is enrolment.ts. Called by
// http.ts.

import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Enrolment, EnrolmentRefusal, RefusedEnrolment } from './enrolment.ts'

/** A check of certificates costs a millisecond or two: a fiftieth of a core for one address. */
const PER_SECOND = 10

const STATUS: Readonly<Partial<Record<EnrolmentRefusal, number>>> = {
  malformed: 400,
  'bad-signature': 401,
  'unknown-consumer': 404,
  'storage-unavailable': 503,
}

/** Registers both. */
export function meteringKeyRoutes(routes: FastifyInstance, enrolment: Enrolment): void {
  const options = { config: { rateLimit: { max: PER_SECOND, timeWindow: 1_000 } } }
  routes.post('/v1/metering-keys/challenge', options, async (request, reply) =>
    send(reply, enrolment.challenge(request.body)),
  )
  routes.post('/v1/metering-keys', options, async (request, reply) =>
    send(reply, await enrolment.enrol(request.body)),
  )
}

function send(reply: FastifyReply, answer: object | RefusedEnrolment): object {
  if (!('refusal' in answer)) return answer
  const { refusal: code, message } = answer as RefusedEnrolment
  return reply.code(STATUS[code] ?? 422).send({ error: { code, message } })
}
