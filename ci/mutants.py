"""Mutants by schemata: all of them in one build, of which a run switches on one (Untch, Offutt and Harrold, "Mutation Analysis Using
Mutant Schemata", 1993). cargo-mutants says which mutants there are; on top of its list, each statement is deleted once.

A build for each mutant would take a day. What the combined build cannot hold (a deleted initialization, a `return` that the type
checker needs) is taken out again, and counted.
"""

import argparse, collections, concurrent.futures, json, os, re, shutil, subprocess, sys, threading, time, tomllib
from pathlib import Path

import tree_sitter_rust
from tree_sitter import Language, Parser

FEATURES = 'budget,cache,ledger,metrics,pace,redb,retry,test-tracing'
# Processes, and tests of what is not mutated here.
SKIP = ['examples::', 'provider::', 'key::', 'a_million', 'chat_service', 'conformance::', 'killed']
MODELS_ENV = {'RUSTFLAGS': '--cfg sync_coalesce_shuttle', 'SCHEDULES': '1000'}
# What is not in the builds that are tested.
NOT_BUILT = re.compile(r'cfg\((?:all\()?(?:test|sync_coalesce_(?:shuttle|noise))')

parser = Parser(Language(tree_sitter_rust.language()))


class Mutant:
    def __init__(self, number, name, how):
        self.number, self.name, self.how, self.verdict = number, name, how, None


class Source:
    """A file with its mutants, each at a node of its syntax tree."""

    def __init__(self, path, text):
        self.path, self.text = path, text
        self.root = parser.parse(text).root_node
        self.wraps = collections.defaultdict(list)  # node id -> [(mutant, how, text)]
        self.lines = [0]
        for line in text.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def offset(self, place):
        line = self.text[self.lines[place['line'] - 1]:].decode()
        return self.lines[place['line'] - 1] + len(line[:place['column'] - 1].encode())

    def walk(self, node=None):
        """All nodes that are in the tested build."""
        node = node or self.root
        yield node
        hidden = False
        for child in node.children:
            if child.type in ('attribute_item', 'inner_attribute_item'):
                hidden = hidden or bool(NOT_BUILT.search(self.of(child)))
            elif child.type not in ('line_comment', 'block_comment'):
                if not hidden:
                    yield from self.walk(child)
                hidden = False

    def of(self, node):
        return self.text[node.start_byte:node.end_byte].decode()

    def render(self, node, gone):
        parts, at = [], node.start_byte
        for child in node.children:
            parts += [self.text[at:child.start_byte].decode(), self.render(child, gone)]
            at = child.end_byte
        text = ''.join(parts) + self.text[at:node.end_byte].decode()
        for mutant, how, other in self.wraps.get(node.id, ()):
            if mutant.number in gone:
                continue
            is_on = f'crate::mutant({mutant.number})'
            if how == 'statement':
                text = f'if !{is_on} {{ {text} }}'
            elif how == 'other':
                text = f'(if {is_on} {{ {other} }} else {{ {text} }})'
            elif how == 'body':
                text = f'if {is_on} {{ return {other}; }} {text}'
            elif how == 'arm':
                pattern, _, condition = text.partition(' if ')
                text = f'{pattern} if !{is_on}' + (f' && ({condition})' if condition else '') + ' '
            text = f'/*<{mutant.number}*/{text}/*{mutant.number}>*/'
        return text


def function_of(source, node):
    names = []
    while node:
        if node.type == 'function_item':
            names.append(source.of(node.child_by_field_name('name')))
        elif node.type == 'impl_item':
            names.append(source.of(node.child_by_field_name('type')).partition('<')[0])
        node = node.parent
    return '::'.join(reversed(names))


def statements(source, patterns, new):
    for node in source.walk():
        if node.type == 'expression_statement' and node.parent.type == 'block':
            line = ' '.join(source.of(node).split())
            line = line if len(line) < 70 else line[:67] + '...'
            name = f'{source.path}:{node.start_point[0] + 1}: delete statement `{line}` in {function_of(source, node)}'
            if not any(pattern.search(name) for pattern in patterns):
                source.wraps[node.id].append((new(name, 'statement'), 'statement', ''))


def changes(source, listed, new):
    """Places the mutants that cargo-mutants lists."""
    nodes = list(source.walk())
    by_start = collections.defaultdict(list)
    for node in nodes:
        by_start[node.start_byte].append(node)
    for change in listed:
        start, end = source.offset(change['span']['start']), source.offset(change['span']['end'])
        genre, other, put = change['genre'], change['replacement'], None
        for node in by_start[start]:
            if genre == 'FnValue' and node.parent.type == 'block':
                put = (node, 'body', other)
                break
            if genre == 'UnaryOperator' and node.type == 'unary_expression':
                put = (node, 'other', source.of(node)[end - start:])
                break
            if genre == 'BinaryOperator' and node.end_byte == end and 'expression' in node.parent.type:
                whole = node.parent
                # `if let … && …` holds no value that could be put into parentheses.
                if not any(child.type in ('let_condition', 'let_chain') for child in whole.children):
                    before = source.text[whole.start_byte:start].decode()
                    put = (whole, 'other', before + other + source.text[end:whole.end_byte].decode())
                break
            if genre == 'MatchArm' and node.type == 'match_arm':
                put = (node.child_by_field_name('pattern'), 'arm', '')
                break
            if genre == 'MatchArmGuard' and node.parent.type == 'match_pattern':
                put = (node, 'other', other)
                break
        if put:
            source.wraps[put[0].id].append((new(change['name'], put[1]), put[1], put[2]))
        else:
            yield change['name']


def plant(tree, sources, gone):
    for source in sources:
        (tree / source.path).write_text(source.render(source.root, gone))


def build(tree, target, args, environment, level=0):
    command = ['cargo', *args, '--message-format=json', '--target-dir', str(target), '--config', 'profile.dev.debug=0',
               '--config', f'profile.dev.package.sync-coalesce.opt-level={level}']
    done = subprocess.run(command, cwd=tree, env={**os.environ, **environment}, capture_output=True, text=True)
    errors, binaries = [], {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get('reason') == 'compiler-message' and message['message']['level'] == 'error':
            errors.append(message['message'])
        if message.get('executable') and message['profile']['test']:
            binaries[message['target']['name']] = message['executable']
    if done.returncode and not errors:
        sys.exit(done.stderr)
    return errors, binaries


# A statement without which another one is reached, or reaches what was moved.
LEAVES = re.compile(r'\b(return|break|continue|drop|resume_unwind|forget)\b')


def culprits(tree, errors, mutants, gone):
    """The mutants around the places of these errors, the innermost of each; or those nearby that may have caused them."""
    found = set()
    for error in errors:
        own, near = set(), set()
        for span in sorted(error['spans'], key=lambda span: not span['is_primary']):
            text = (tree / span['file_name']).read_bytes()
            before = text[:span['byte_start']].decode()
            open_ = []
            for opened, closed in re.findall(r'/\*<(\d+)\*/|/\*(\d+)>\*/', before):
                open_.append(int(opened)) if opened else open_.remove(int(closed))
            inside = re.findall(r'/\*<(\d+)\*/', text[span['byte_start']:span['byte_end']].decode())
            own |= {open_[-1]} if open_ else set(map(int, inside[:1]))
            around = text[max(0, span['byte_start'] - 1500):span['byte_end'] + 1500].decode(errors='replace')
            near |= set(map(int, re.findall(r'/\*<(\d+)\*/', around)))
            if own:
                break
        code = (error['code'] or {}).get('code')
        near = {number for number in near - gone if (
            mutants[number - 1].how == 'body' if code in ('E0271', 'E0308') else
            mutants[number - 1].how == 'statement' and LEAVES.search(mutants[number - 1].name))}
        found |= own - gone or near
    return found


class Run:
    """A test binary, run until its first failure."""

    def __init__(self, binary, cwd, args, limit, environment=None):
        self.command, self.cwd, self.limit = [binary, *args], cwd, limit
        self.environment = {**os.environ, **(environment or {})}

    def fails(self, number):
        environment = {**self.environment, 'SYNC_COALESCE_MUTANT': str(number), 'PROPTEST_MAX_SHRINK_ITERS': '0'}
        process = subprocess.Popen(self.command, cwd=self.cwd, env=environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors='replace', start_new_session=True)
        late = threading.Timer(self.limit, lambda: os.killpg(process.pid, 9))
        late.start()
        failed = None
        try:
            for line in process.stdout:
                if line.rstrip().endswith('... FAILED') or 'panicked at' in line and 'aborting' in line:
                    failed = line.split()[1]
                    break
        finally:
            is_late = not late.is_alive()
            late.cancel()
            if failed:
                try:
                    os.killpg(process.pid, 9)
                except ProcessLookupError:
                    pass
        code = process.wait()
        return failed or ('time-out' if is_late else f'exit {code}' if code else None)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument('--jobs', type=int, default=2)
    arguments.add_argument('--statements', action='store_true', help='delete statements only')
    arguments.add_argument('--only', help='a regular expression for names')
    arguments.add_argument('files', nargs='+', help='globs below the root')
    options = arguments.parse_args()
    root, work = Path.cwd(), Path('target/mutants').absolute()
    tree = work / 'tree'
    shutil.rmtree(tree, ignore_errors=True)
    for name in subprocess.run(['git', 'ls-files', '-z'], capture_output=True, text=True, check=True).stdout.split('\0'):
        if name and Path(name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, tree / name)

    config = tomllib.loads(Path('.cargo/mutants.toml').read_text())
    patterns = [re.compile(pattern) for pattern in config['exclude_re']]
    files = sorted({str(path.relative_to(root)) for glob in options.files for path in root.glob(glob)
                    if not re.search(r'models|tests|op_counts|faults\.rs', str(path.relative_to(root)))})
    mutants = []

    def new(name, how):
        mutants.append(Mutant(len(mutants) + 1, name, how))
        return mutants[-1]

    listed = collections.defaultdict(list)
    if not options.statements:
        out = subprocess.run(['cargo', 'mutants', '--list', '--json', *(f'--file={file}' for file in files)],
                             capture_output=True, text=True, check=True).stdout
        for change in json.loads(out):
            listed[change['file']].append(change)
    sources, unplaced = [], []
    for file in files:
        source = Source(file, Path(file).read_bytes())
        unplaced += changes(source, listed[file], new)
        statements(source, patterns, new)
        sources.append(source)
    with (tree / 'src/lib.rs').open('a') as lib:
        lib.write('''
/// Whether this mutant is switched on.
#[doc(hidden)]
pub fn mutant(number: u32) -> bool {
    static ON: std::sync::LazyLock<u32> = std::sync::LazyLock::new(|| {
        std::env::var("SYNC_COALESCE_MUTANT").ok().and_then(|on| on.parse().ok()).unwrap_or(0)
    });
    *ON == number
}
''')
    print(f'{len(mutants)} mutants in {len(files)} files; {len(unplaced)} more cannot be placed', flush=True)

    models = ['--features', 'cache,ledger,pace', '--lib']
    gone = set()
    for round_ in range(60):
        plant(tree, sources, gone)
        errors, _ = build(tree, work / 'tests', ['check', '--lib', '--features', FEATURES], {})
        if not errors:
            errors, _ = build(tree, work / 'models', ['check', '--profile', 'test', *models], {'RUSTFLAGS': MODELS_ENV['RUSTFLAGS']})
        if not errors:
            break
        bad = culprits(tree, errors, mutants, gone) - gone
        if not bad:
            sys.exit('errors, but no mutant to blame:\n' + '\n'.join(error['rendered'] for error in errors))
        gone |= bad
        print(f'round {round_}: {len(bad)} do not build', flush=True)
    errors, unit = build(tree, work / 'tests', ['test', '--no-run', '--features', FEATURES, '--lib'], {}, 1)
    more, whole = build(tree, work / 'tests', ['test', '--no-run', '--features', FEATURES, '--test', 'it'], {})
    again, checked = build(tree, work / 'models', ['test', '--no-run', *models], {'RUSTFLAGS': MODELS_ENV['RUSTFLAGS']}, 1)
    if errors + more + again:
        sys.exit('the tests do not build:\n' + '\n'.join(error['rendered'] for error in errors + more + again))
    skip = [word for name in SKIP for word in ('--skip', name)]
    stages = [
        ('a unit test', Run(unit['sync_coalesce'], tree, skip, 120)),
        ('a test', Run(whole['it'], tree, [*skip, '--test-threads', '6'], 300)),
        ('a model', Run(checked['sync_coalesce'], tree, ['models::'], 900, MODELS_ENV)),
    ]
    for what, run in stages:
        begun = time.monotonic()
        broken = run.fails(0)
        print(f'{what}: {time.monotonic() - begun:.0f} s for all of them', flush=True)
        if broken:
            sys.exit(f'{what} fails without a mutant: {broken}')

    def judge(mutant):
        for what, run in stages:
            if by := run.fails(mutant.number):
                mutant.verdict = f'{what} ({by})'
                return mutant
        return mutant

    alive = [mutant for mutant in mutants
             if mutant.number not in gone and (not options.only or re.search(options.only, mutant.name))]
    missed, by_kind, done = [], collections.Counter(), 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for mutant in pool.map(judge, alive):
            done += 1
            by_kind[(mutant.verdict or 'nothing').partition(' (')[0]] += 1
            print(f'{done}/{len(alive)} {"caught by " + mutant.verdict if mutant.verdict else "MISSED"}: {mutant.name}', flush=True)
            if not mutant.verdict:
                missed.append(mutant.name)
    print(f'{len(mutants)} mutants: {len(gone)} do not build, ' + ', '.join(f'{count} caught by {kind}' for kind, count in by_kind.items()))
    for name in unplaced:
        print('cannot be placed:', name)
    for name in missed:
        print('MISSED:', name)
    sys.exit(bool(missed))


main()
