import static org.codelibs.opensearch.runner.OpenSearchRunner.newConfigs;

import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One OpenSearch node in this process: {@code SingleNode FOLDER ADDRESS HTTP-PORT TRANSPORT-PORT}. Ends on SIGTERM. */
public final class SingleNode {
    public static void main(String[] arguments) throws Exception {
        OpenSearchRunner runner = new OpenSearchRunner();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                runner.close();
            } catch (java.io.IOException e) {
                System.err.println("closing the node: " + e);
            }
        }));
        runner.onBuild((number, settings) -> {
            settings.put("network.host", arguments[1]);
            settings.put("http.port", arguments[2]);
            settings.put("transport.port", arguments[3]);
            settings.put("node.processors", 1);
            // A nearly full disk is the machine's problem, not a reason to refuse documents.
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        }).build(newConfigs().clusterName("testbed").numOfNode(1).basePath(arguments[0]));
        Thread.currentThread().join();
    }
}
