import Glibc

@main
struct Main {
    static func main() {
        // A reader that went away, like `head`, ends the output and is no crash.
        signal(SIGPIPE, SIG_IGN)
        let context = CommandContext.ofThisProcess()
        CancellationSocket.exitWhenClosed(environment: context.environment)
        exit(Invocation(CommandLine.arguments.dropFirst().map(\.self)).run(in: context))
    }
}
