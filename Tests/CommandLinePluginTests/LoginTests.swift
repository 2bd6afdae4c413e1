import TestSupport
import Testing

@testable import CommandLinePlugin

/// `docker ram login` and `logout` against what docker-ramd answers.
struct LoginTests {
    private static let code =
        #"{"userCode":"BCDF-GHJK","verificationURI":"https://ram.acme.test/activate","#
        + #""completeVerificationURI":null,"expiresIn":600}"#
    private static let signedIn = #"{"signedIn":{"user":"alice","organization":"acme"}}"#

    private func run(
        _ words: [String],
        input: String? = nil,
        answer: String
    ) throws -> (outcome: Machine.Outcome, request: String?) {
        var result: (Machine.Outcome, String?)?
        try Machine.with { machine in
            try machine.withDaemon(answer: { _ in answer }) { server in
                let outcome = machine.run(words, input: input)
                result = (outcome, server.requests.first)
            }
        }
        return try #require(result)
    }

    @Test(
        arguments: [
            (["login", "--token-stdin"], #"{"request":"sign-in","token":"secret"}"#),
            (
                ["login", "--username", "alice", "--password-stdin"],
                #"{"request":"sign-in","user":"alice","password":"secret"}"#
            ),
            (["login"], #"{"request":"sign-in"}"#),
        ]
    )
    func `docker-ramd is asked, and what it says is shown`(words: [String], request: String) throws {
        let (outcome, asked) = try run(words, input: "secret", answer: Self.signedIn + "\n")
        #expect(asked == request + "\n")
        #expect(outcome.output == "Signed in to acme as alice.\n")
        #expect(outcome.errors.isEmpty && outcome.code == 0)
    }

    @Test
    func `a person is shown where to go, before anybody is signed in`() throws {
        let lines = [Self.code, #"{"waiting":595}"#, Self.signedIn].joined(separator: "\n") + "\n"
        let (outcome, _) = try run(["login"], answer: lines)
        #expect(outcome.errors.contains("    https://ram.acme.test/activate\n"))
        #expect(outcome.errors.contains("the code BCDF-GHJK\n"))
        #expect(outcome.errors.contains("good for 10 minutes"))
        #expect(outcome.output == "Signed in to acme as alice.\n")
        let (json, _) = try run(["login", "--format", "json"], answer: lines)
        #expect(json.errors == Self.code + "\n")
        #expect(json.words == #"{ "organization": "acme", "user": "alice" }"#)
    }

    @Test(arguments: [["login"], ["logout"]])
    func `a refusal is an error with what to do`(words: [String]) throws {
        let refusal =
            #"{"refused":{"code":"not_a_member","text":"you are not a member of \"acme\"","hint":"ask an owner"}}"#
        let (outcome, _) = try run(words, answer: refusal + "\n")
        #expect(outcome.code == 1 && outcome.output.isEmpty)
        #expect(
            outcome.errors == "docker ram: you are not a member of \"acme\"\ndocker ram: hint: ask an owner\n"
        )
    }

    @Test
    func `signing out says who was signed in`() throws {
        let (outcome, asked) = try run(["logout"], answer: #"{"signedOut":{"user":"alice"}}"# + "\n")
        #expect(asked == #"{"request":"sign-out"}"# + "\n")
        #expect(outcome.output == "Signed out alice.\n" && outcome.code == 0)
    }

    @Test(arguments: [["login"], ["logout"]])
    func `an answer that breaks off is no sign-in`(words: [String]) throws {
        let (outcome, _) = try run(words, answer: #"{"waiting":5}"# + "\n")
        #expect(outcome.code == 1 && outcome.output.isEmpty)
        #expect(outcome.errors.contains("docker-ramd ended the conversation"))
    }

    @Test(
        arguments: [
            ["login", "--password-stdin"], ["login", "--username", "alice", "--token-stdin"], ["logout", "alice"],
        ]
    )
    func `wrong usage is told before anything is asked`(words: [String]) throws {
        let (outcome, asked) = try run(words, answer: Self.signedIn + "\n")
        #expect(outcome.code == ExitStatus.usage && asked == nil)
    }

    @Test
    func `without a password there is no question`() throws {
        let (outcome, asked) = try run(["login", "-u", "alice", "--password-stdin"], answer: Self.signedIn + "\n")
        #expect(outcome.code == 1 && asked == nil)
        #expect(outcome.errors.contains("there is no password on standard input"))
    }
}
