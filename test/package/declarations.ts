/** The public names of an entry point with their declarations, read from the `.d.ts` files that the compiler emits. */
import { existsSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { type ESTree, parseSync } from 'vite'

/** One name that an entry point exports. */
export interface PublicName {
  name: string
  /** its name in the file that declares it */
  declaredName: string
  /** exported with `export type`: a class or a value that a program cannot use at run time */
  isTypeOnly: boolean
  /** the file that declares it, from the top of the emitted tree */
  file: string
  /** its declarations without comments; a function has one for each overload */
  text: string
  /** a doc comment stands before the first declaration */
  isDocumented: boolean
  /** the types of this project that its declarations name, as `file#name` */
  references: string[]
}

/** What `name` stands for in a module: a declaration of its own, or a name of another module. */
interface Binding {
  file: string
  name: string
  isTypeOnly: boolean
}

interface Declaration {
  text: string
  isDocumented: boolean
  nodes: ESTree.Node[]
}

interface Module {
  declarations: Map<string, Declaration>
  /** local name → where it is declared */
  imports: Map<string, Binding>
  /** exported name → what it stands for */
  exports: Map<string, Binding>
}

/** Reads the modules below `root`, each once. */
export class EmittedDeclarations {
  readonly #root: string
  readonly #modules = new Map<string, Module>()

  constructor(root: string) {
    this.#root = root
  }

  /** Returns the names that the entry point exports, sorted. */
  publicNames(entry: string): PublicName[] {
    return [...this.#module(entry).exports]
      .map(([name, binding]) => this.#publicName(name, binding))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  #publicName(name: string, exported: Binding): PublicName {
    const { file, name: local, isTypeOnly } = this.#declared(exported)
    const declaration = this.#module(file).declarations.get(local)
    if (!declaration) throw new Error(`${name} is declared in ${file} in a way that this reader does not know`)
    const { text, isDocumented, nodes } = declaration
    const references = new Set(nodes.flatMap(node => this.#referencesOf(node, file)))
    references.delete(`${file}#${local}`)
    return { name, declaredName: local, isTypeOnly, file, text, isDocumented, references: [...references].sort() }
  }

  /** Follows re-exports to the module that holds the declaration, or to the package. */
  #declared(binding: Binding): Binding {
    const { file, name, isTypeOnly } = binding
    if (!this.#isOurs(file)) return binding
    const module = this.#module(file)
    const next = module.exports.get(name)
    if (module.declarations.has(name) || !next) return binding
    return this.#declared({ ...next, isTypeOnly: isTypeOnly || next.isTypeOnly })
  }

  #module(file: string): Module {
    let module = this.#modules.get(file)
    if (!module) {
      module = this.#read(file)
      this.#modules.set(file, module)
    }
    return module
  }

  #read(file: string): Module {
    const source = readFileSync(posix.join(this.#root, file), 'utf8')
    const { program, comments, errors } = parseSync(file, source, { sourceType: 'module' })
    if (errors.length > 0) throw new Error(`${file} cannot be parsed: ${errors[0]?.message}`)
    const module: Module = { declarations: new Map(), imports: new Map(), exports: new Map() }

    const declare = (statement: ESTree.Node, declaration: ESTree.Node): string[] => {
      const before = comments.findLast(comment => comment.end <= statement.start)
      const isDocumented =
        before?.type === 'Block' &&
        before.value.startsWith('*') &&
        source.slice(before.end, statement.start).trim() === ''
      const text = withoutComments(source, declaration, comments)
      const names = namesOf(declaration)
      for (const name of names) {
        const earlier = module.declarations.get(name)
        module.declarations.set(name, {
          text: earlier ? `${earlier.text}\n${text}` : text,
          isDocumented: earlier?.isDocumented || isDocumented,
          nodes: [...(earlier?.nodes ?? []), declaration],
        })
      }
      return names
    }

    for (const statement of program.body) {
      if (statement.type === 'ImportDeclaration') {
        for (const specifier of statement.specifiers) {
          const name = specifier.type === 'ImportSpecifier' ? moduleName(specifier.imported) : '*'
          module.imports.set(specifier.local.name, {
            file: this.#resolve(file, statement.source.value),
            name,
            isTypeOnly: false,
          })
        }
      } else if (statement.type === 'ExportNamedDeclaration') {
        if (statement.declaration) {
          for (const name of declare(statement, statement.declaration)) {
            module.exports.set(name, { file, name, isTypeOnly: false })
          }
        }
        for (const { local, exported, exportKind } of statement.specifiers) {
          const isTypeOnly = statement.exportKind === 'type' || exportKind === 'type'
          const from = statement.source ? this.#resolve(file, statement.source.value) : file
          module.exports.set(moduleName(exported), { file: from, name: moduleName(local), isTypeOnly })
        }
      } else if (statement.type === 'ExportAllDeclaration') {
        throw new Error(`${file} exports all of ${statement.source.value}: public names are listed one by one`)
      } else {
        declare(statement, statement)
      }
    }
    return module
  }

  /** The types that a declaration names, as far as they are declared in this project. */
  #referencesOf(node: ESTree.Node, file: string): string[] {
    const module = this.#module(file)
    const found: string[] = []
    const add = (binding: Binding) => {
      const { file: declaredIn, name } = this.#declared(binding)
      if (this.#isOurs(declaredIn)) found.push(`${declaredIn}#${name}`)
    }
    visit(node, child => {
      if (child.type === 'TSImportType') {
        const target = this.#resolve(file, child.source.value)
        const name = child.qualifier ? rootName(child.qualifier) : undefined
        if (name !== undefined) add({ file: target, name, isTypeOnly: true })
        return
      }
      const name = typeNamedBy(child)
      if (name === undefined) return
      const imported = module.imports.get(name)
      if (imported) add(imported)
      else if (module.declarations.has(name)) add({ file, name, isTypeOnly: true })
    })
    return found
  }

  #isOurs(file: string): boolean {
    return existsSync(posix.join(this.#root, file))
  }

  /** The emitted file that a specifier names, or the specifier itself if it names a package. */
  #resolve(from: string, specifier: string): string {
    if (!specifier.startsWith('.')) return specifier
    return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.d.ts')
  }
}

function namesOf(declaration: ESTree.Node): string[] {
  switch (declaration.type) {
    case 'VariableDeclaration':
      return declaration.declarations.flatMap(({ id }) => (id.type === 'Identifier' ? [id.name] : []))
    case 'TSInterfaceDeclaration':
    case 'TSTypeAliasDeclaration':
      return [declaration.id.name]
    case 'ClassDeclaration':
    case 'FunctionDeclaration':
    case 'TSDeclareFunction':
      return declaration.id ? [declaration.id.name] : []
    default:
      return []
  }
}

function moduleName(name: ESTree.ModuleExportName): string {
  return name.type === 'Literal' ? name.value : name.name
}

/**
 * The name that a node refers to, if the node stands for a type: a reference, `typeof`, or what a class or an interface
 * extends.
 */
function typeNamedBy(node: ESTree.Node): string | undefined {
  switch (node.type) {
    case 'TSTypeReference':
      return rootName(node.typeName)
    case 'TSTypeQuery':
      return node.exprName.type === 'TSImportType' ? undefined : rootName(node.exprName)
    case 'TSInterfaceHeritage':
    case 'TSClassImplements':
      return node.expression.type === 'Identifier' ? node.expression.name : undefined
    case 'ClassDeclaration':
      return node.superClass?.type === 'Identifier' ? node.superClass.name : undefined
    default:
      return undefined
  }
}

function rootName(name: ESTree.TSTypeName | ESTree.TSImportTypeQualifier): string | undefined {
  if (name.type === 'Identifier') return name.name
  return name.type === 'TSQualifiedName' ? rootName(name.left) : undefined
}

/** Calls `look` for a node and for every node below it. */
function visit(node: ESTree.Node, look: (node: ESTree.Node) => void): void {
  look(node)
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child, look)
  }
}

function isNode(value: unknown): value is ESTree.Node {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

/** The text of a declaration without comments, and without the lines that only held one. */
function withoutComments(
  source: string,
  { start, end }: { start: number; end: number },
  comments: readonly { start: number; end: number }[],
): string {
  let text = ''
  let position = start
  for (const comment of comments) {
    if (comment.start < start || comment.end > end) continue
    text += source.slice(position, comment.start)
    position = comment.end
  }
  text += source.slice(position, end)
  return text
    .split('\n')
    .map(line => line.trimEnd())
    .filter(line => line !== '')
    .join('\n')
}
