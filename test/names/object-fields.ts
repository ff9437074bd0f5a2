/** The fields of objects that the sources log or print, read from the sources: no single run writes every line. */
import { parseSync } from 'vite'

/** A node of the syntax tree, as far as this file reads it. */
interface Node {
  type: string
  [key: string]: unknown
}

/** A file of the sources. */
export interface Source {
  path: string
  text: string
}

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal']

/**
 * Returns the names of all fields that these sources hand to a logger.
 * @param elsewhere names of functions and tables of functions whose results the caller reads by another way
 * @throws Error for a log line whose fields cannot be read
 */
export function loggedFields(sources: readonly Source[], elsewhere: readonly string[] = []): Set<string> {
  return fieldsOfObjects(sources, loggedBy, elsewhere)
}

/**
 * Returns the names of all fields that these sources hand to `printJson`.
 * @throws Error for an object whose fields cannot be read
 */
export function printedFields(sources: readonly Source[]): Set<string> {
  const printedBy = (node: Node) => (isCall(node) && nameOf(node.callee) === 'printJson' ? nodesOf(node.arguments) : [])
  return fieldsOfObjects(sources, printedBy, [])
}

/** Reads object literals, variables of the same file and results of functions of any of the files. */
function fieldsOfObjects(
  sources: readonly Source[],
  objectsIn: (node: Node) => unknown[],
  elsewhere: readonly string[],
): Set<string> {
  const files = sources.map(({ path, text }) => ({ path, program: parsed(path, text) }))
  const functions = new Map(files.flatMap(({ program }) => all(program).flatMap(functionOf)))
  const found = new Set<string>()
  for (const { path, program } of files) {
    const nodes = all(program)
    const fieldsOf = (node: unknown): string[] => {
      if (!isNode(node)) return []
      switch (node.type) {
        case 'ObjectExpression':
          return nodesOf(node.properties).flatMap(property => {
            if (property.type === 'SpreadElement') return fieldsOf(property.argument)
            const name = isNode(property.key) ? (property.key.name ?? property.key.value) : undefined
            if (property.computed || typeof name !== 'string') throw unreadable(path, 'a computed field')
            return [name]
          })
        case 'ParenthesizedExpression':
        case 'TSAsExpression':
        case 'TSSatisfiesExpression':
          return fieldsOf(node.expression)
        case 'LogicalExpression':
          return [...(node.operator === '&&' ? [] : fieldsOf(node.left)), ...fieldsOf(node.right)]
        case 'ConditionalExpression':
          return [...fieldsOf(node.consequent), ...fieldsOf(node.alternate)]
        case 'Identifier': {
          const values = nodes.flatMap(other => initialValue(other, String(node.name)))
          if (values.length === 0) throw unreadable(path, `the variable ${String(node.name)}`)
          return values.flatMap(fieldsOf)
        }
        case 'CallExpression': {
          const name = nameOf(node.callee)
          if (elsewhere.includes(name)) return []
          const results = functions.get(name)
          if (!results) throw unreadable(path, `the result of ${name}`)
          return results.flatMap(fieldsOf)
        }
        default:
          throw unreadable(path, `a ${node.type}`)
      }
    }
    for (const node of nodes) for (const object of objectsIn(node)) for (const name of fieldsOf(object)) found.add(name)
  }
  return found
}

function unreadable(path: string, form: string): Error {
  return new Error(`${path}: ${form} has field names that this test cannot read; write an object literal`)
}

function parsed(path: string, text: string): unknown {
  const { program, errors } = parseSync(path, text)
  if (errors.length > 0) throw new Error(`${path} cannot be parsed: ${errors[0]?.message}`)
  return program
}

/** Returns the objects of fields in a call of a logger, or of `withFields`. */
function loggedBy(node: Node): unknown[] {
  if (!isCall(node)) return []
  const [first, second] = nodesOf(node.arguments)
  if (nameOf(node.callee) === 'withFields') return [second]
  const callee = isNode(node.callee) ? node.callee : undefined
  if (callee?.type !== 'MemberExpression' || nameOf(callee.object) !== 'logger') return []
  const isLevel = callee.computed === true || levels.includes(nameOf(callee.property))
  return isLevel ? [first] : []
}

/** Returns the last name of `name`, `a.name`, `this.#name` and `table[key](…)`; empty without a name. */
function nameOf(node: unknown): string {
  if (!isNode(node)) return ''
  if (node.type === 'Identifier' || node.type === 'PrivateIdentifier') return String(node.name)
  if (node.type === 'MemberExpression') return nameOf(node.computed === true ? node.object : node.property)
  return ''
}

/** Returns the value of the variable if the node declares it. */
function initialValue(node: Node, name: string): unknown[] {
  return node.type === 'VariableDeclarator' && nameOf(node.id) === name ? [node.init] : []
}

/** Returns the name and the results of a function declaration. */
function functionOf(node: Node): [name: string, results: unknown[]][] {
  if (node.type !== 'FunctionDeclaration') return []
  const results = all(node.body).flatMap(({ type, argument }) => (type === 'ReturnStatement' ? [argument] : []))
  return [[nameOf(node.id), results]]
}

function isCall({ type }: Node): boolean {
  return type === 'CallExpression'
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, 'type') === 'string'
}

function nodesOf(value: unknown): Node[] {
  return Array.isArray(value) ? value.filter(isNode) : []
}

/** Returns the node and all nodes below. */
function all(value: unknown): Node[] {
  if (Array.isArray(value)) return value.flatMap(all)
  if (!isNode(value)) return []
  return [value, ...Object.values(value).flatMap(all)]
}
