// Puts the page together.

function saveJson() {
  const blob = new Blob([document.getElementById('run-data').textContent], { type: 'application/json' });
  const link = element('a', { href: URL.createObjectURL(blob), download: `${data.shape.name || 'run'}_${data.soc}.json` });
  link.click();
  URL.revokeObjectURL(link.href);
}

const prefersDark = window.matchMedia('(prefers-color-scheme: dark)');
setTheme(location.hash === '#dark' || (location.hash !== '#light' && prefersDark.matches) ? 'dark' : 'light');
prefersDark.addEventListener('change', (event) => setTheme(event.matches ? 'dark' : 'light'));
document.getElementById('theme').addEventListener('click', () =>
  setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'));
document.getElementById('save').addEventListener('click', saveJson);

for (const fill of [fillHeader, fillAdvice, fillTimeline, fillPipes, fillLoad, fillRoofline, fillGm, fillMemory, fillStalls,
  fillGroups, fillHazards]) fill();
document.getElementById('footer').textContent =
  `fastattention-npu ${data.version}. Simulated on a model of ${data.soc}; constants and their sources: configs/soc. The numbers of this page are inside it as JSON.`;
document.documentElement.dataset.ready = '1';
