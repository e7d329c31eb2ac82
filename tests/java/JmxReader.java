// Reads MBeans of several JVMs, again and again: java JmxReader.java HOST:PORT..
//
// Each line on stdin is a list of object name patterns separated by tabs. The answer is one JSON object a line on
// stdout for every MBean that matches in any JVM, {"jvm":INDEX,"mbean":NAME,"attributes":{..}}, then {"end":true}. A JVM
// that cannot be asked answers {"jvm":INDEX,"error":TEXT}. Only numbers are printed; nothing is changed.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import javax.management.Attribute;
import javax.management.MBeanAttributeInfo;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

public class JmxReader {
  public static void main(String[] addresses) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    MBeanServerConnection[] jvms = new MBeanServerConnection[addresses.length];
    for (String line; (line = lines.readLine()) != null; ) {
      for (int jvm = 0; jvm < addresses.length; jvm++) {
        try {
          if (jvms[jvm] == null) jvms[jvm] = connect(addresses[jvm]);
          for (String pattern : line.split("\t")) read(jvms[jvm], jvm, new ObjectName(pattern));
        } catch (Exception failure) {
          jvms[jvm] = null;
          System.out.println("{\"jvm\":" + jvm + ",\"error\":" + quote(failure.toString()) + "}");
        }
      }
      System.out.println("{\"end\":true}");
      System.out.flush();
    }
    System.exit(0); // The connectors' threads would keep the JVM up.
  }

  private static MBeanServerConnection connect(String address) throws Exception {
    String url = "service:jmx:rmi:///jndi/rmi://" + address + "/jmxrmi";
    return JMXConnectorFactory.connect(new JMXServiceURL(url)).getMBeanServerConnection();
  }

  private static void read(MBeanServerConnection jvm, int index, ObjectName pattern) throws Exception {
    for (ObjectName name : new TreeSet<>(jvm.queryNames(pattern, null))) {
      List<String> readable = new ArrayList<>();
      for (MBeanAttributeInfo info : jvm.getMBeanInfo(name).getAttributes()) {
        if (info.isReadable()) readable.add(info.getName());
      }
      StringBuilder attributes = new StringBuilder();
      for (Attribute attribute : jvm.getAttributes(name, readable.toArray(new String[0])).asList()) {
        if (attribute.getValue() instanceof Number number && Double.isFinite(number.doubleValue())) {
          if (attributes.length() > 0) attributes.append(',');
          attributes.append(quote(attribute.getName())).append(':').append(number);
        }
      }
      System.out.println("{\"jvm\":" + index + ",\"mbean\":" + quote(name.toString()) + ",\"attributes\":{" + attributes + "}}");
    }
  }

  private static String quote(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') quoted.append('\\').append(c);
      else if (c < ' ') quoted.append(String.format("\\u%04x", (int) c));
      else quoted.append(c);
    }
    return quoted.append('"').toString();
  }
}
