import Testing

@testable import OrganizationServer

struct ChangeFeedTests {
    /// Longer than any test may take: who returns has been woken.
    private static let long = Duration.seconds(3600)

    @Test
    func `a change wakes all who wait for it, ten thousand of them, and nobody else`() async {
        let feed = ChangeFeed()
        await withTaskGroup(of: (String, UInt64).self) { group in
            for _ in 0..<10_000 {
                group.addTask { ("acme", await feed.change(of: "acme", after: 0, within: Self.long)) }
            }
            group.addTask { ("other", await feed.change(of: "other", after: 0, within: Self.long)) }
            while await feed.waiterCount < 10_001 { await Task.yield() }
            await feed.notify("acme")
            for _ in 0..<10_000 {
                let next = await group.next()
                #expect(next?.0 == "acme" && next?.1 == 1)
            }
            #expect(await feed.waiterCount == 1)
            group.cancelAll()
            let last = await group.next()
            #expect(last?.0 == "other" && last?.1 == 0)
        }
        #expect(await feed.waiterCount == 0)
    }

    @Test
    func `a change between looking and waiting is not missed`() async {
        let feed = ChangeFeed()
        let seen = await feed.count(of: "acme")
        await feed.notify("acme")
        #expect(await feed.change(of: "acme", after: seen, within: Self.long) == 1)
    }

    @Test
    func `the deadline ends the wait, without a change`() async {
        let feed = ChangeFeed()
        #expect(await feed.change(of: "acme", after: 0, within: .milliseconds(1)) == 0)
        #expect(await feed.change(of: "acme", after: 0, within: .zero) == 0)
        #expect(await feed.waiterCount == 0)
    }

    @Test
    func `a server that stops lets nobody wait`() async {
        let feed = ChangeFeed()
        let waiter = Task { await feed.change(of: "acme", after: 0, within: Self.long) }
        while await feed.waiterCount < 1 { await Task.yield() }
        await feed.finish()
        #expect(await waiter.value == 0)
        #expect(await feed.change(of: "acme", after: 0, within: Self.long) == 0)
    }

    @Test
    func `a task that was cancelled does not wait`() async {
        let feed = ChangeFeed()
        let waiter = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await feed.change(of: "acme", after: 0, within: Self.long)
        }
        #expect(await waiter.value == 0)
    }
}
